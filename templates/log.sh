# All that follows is said in the log of the run. A fifo or a device in its place would be waited for, or keep nothing, and a link leads out of the
# run: it makes way.
log=@{log}
if [ -L "$log" ] || { [ -e "$log" ] && [ ! -f "$log" ]; }; then command mv -f -- "$log" "$log.moved-$$"; fi
if [ ! -L "$log" ] && { [ -f "$log" ] || [ ! -e "$log" ]; }; then exec >>"$log" 2>&1; fi
unset log

# All that follows is said in the log of the run. A fifo or a device in its place would be waited for, or keep nothing: it makes way.
log=@{log}
if { [ -e "$log" ] || [ -L "$log" ]; } && [ ! -f "$log" ]; then command mv -f -- "$log" "$log.moved-$$"; fi
if [ -f "$log" ] || [ ! -e "$log" ]; then exec >>"$log" 2>&1; fi
unset log

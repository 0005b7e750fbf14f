# A shell script without any checkpoint: it begins anew each time.
for k in $(seq 1 "$1"); do
    echo "part $k"
    sleep 0.5
done

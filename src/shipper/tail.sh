# Prints every line of the files that match the patterns given as arguments, from their beginning, as they grow.
#
# Each `tail -f` follows one inode, and a scan every second looks for new ones: a file that appears late, or takes the place
# of a rotated one, is read from its beginning, and the rotated one is read on for a while, as writers are slow to notice.
# A file that has not grown for ten minutes is let go of until it grows again, and of such old ones only a few are read at a
# time: directories fill up with them.
IFS='
'
followed= live=0
trap 'stop=1' TERM INT
exec 9>&1

say_once() {
  case $said in *"<$1>"*) ;; *) said="$said<$1>"; echo "logsidecar: $1" ;; esac
}

# awk writes whole lines, so that those of two files never mix; tr drops the NULs that a truncated file may be filled with.
# Descriptor 3 carries the process id of tail out of the pipeline; the others must not keep it open.
follow() { # INODE FILE FIRST-BYTE
  pid=$({ { tail -c "+$3" -f "$2" 2>/dev/null 3>&- & echo $! >&3; } | tr -d '\000' 3>&- | awk '{ print; fflush() }' >&9 3>&- & } 3>&1)
  eval "tail_$1=$pid since_$1=$now size_$1=$size rest_$1="
  live=$((live + 1))
}

# What is new about a file: nothing (1), or where to go on reading it (0, and $first).
is_new() { # INODE SIZE
  case $followed$IFS in *"$IFS$1$IFS"*) ;; *) first=1; return 0 ;; esac
  eval "rest=\$rest_$1"
  [ -n "$rest" ] && [ "$rest" -ne "$2" ] || return 1
  if [ "$2" -gt "$rest" ]; then first=$((rest + 1)); else first=1; fi
}

let_go() { # INODE SIZE
  eval "rest=\$rest_$1 pid=\$tail_$1 rest_$1=$2"
  if [ -z "$rest" ]; then kill "$pid" 2>/dev/null; live=$((live - 1)); fi
}

scan() {
  present= now=$(date +%s)
  for pattern; do
    directory=${pattern%/*}
    if [ -d "$directory" ] && ! { [ -r "$directory" ] && [ -x "$directory" ]; }; then
      say_once "cannot read directory $directory as user $(id -u), group $(id -g)"
    fi
    for found in $(stat -L -c '%d_%i %s %Y %n' $pattern 2>/dev/null); do
      inode=${found%% *} found=${found#* }
      size=${found%% *} found=${found#* }
      changed=${found%% *} file=${found#* }
      [ -f "$file" ] || continue
      present="$present<$inode>"
      if is_new "$inode" "$size"; then
        if [ $((now - changed)) -gt 600 ] && [ "$live" -ge 20 ]; then continue; fi
        if ! [ -r "$file" ]; then
          say_once "cannot read $file as user $(id -u), group $(id -g): set runAsUser in sidecar.container.securityContext to the owner of the file"
          continue
        fi
        case $followed$IFS in *"$IFS$inode$IFS"*) ;; *) followed="$followed$IFS$inode" ;; esac
        follow "$inode" "$file" "$first"
      else
        eval "rest=\$rest_$inode since=\$since_$inode last=\$size_$inode size_$inode=$size"
        # What is written after a file was emptied is read from its beginning, if need be twice: tail may not have noticed.
        if [ -z "$rest" ] && [ "$size" -lt "$last" ]; then
          let_go "$inode" "$size"
          follow "$inode" "$file" 1
          continue
        fi
        if [ -z "$rest" ] && [ $((now - changed)) -gt 600 ] && [ $((now - since)) -gt 5 ]; then let_go "$inode" "$size"; fi
      fi
    done
  done
}

# Ends the tails of files that have not matched for ten scans. Until then they hold the inode, so it cannot be reused.
forget() {
  kept=
  for inode in $followed; do
    case $present in
      *"<$inode>"*) age=0 ;;
      *) eval "age=\$((age_$inode + 1))" ;;
    esac
    eval "age_$inode=$age"
    if [ "$age" -gt 10 ]; then let_go "$inode"; unset "rest_$inode"; else kept="$kept$IFS$inode"; fi
  done
  followed=$kept
}

while [ -z "$stop" ]; do
  scan "$@"
  forget
  sleep 1 & wait $!
done

# tail looks once a second: after a last scan it has seen everything that was written before the signal.
scan "$@"
sleep 1.2
for inode in $followed; do eval "kill \$tail_$inode" 2>/dev/null; done
sleep 0.2
exit 0

# Prints every line of the files that match the patterns given as arguments, from their beginning, as they grow.
#
# Each `tail -f` follows one inode, and a scan every second looks for new ones: a file that appears late, or takes the place
# of a rotated one, is read from its beginning, and the rotated one is read on for a while, as writers are slow to notice.
IFS='
'
followed=
trap 'stop=1' TERM INT
exec 9>&1

say_once() {
  case $said in *"<$1>"*) ;; *) said="$said<$1>"; echo "logsidecar: $1" ;; esac
}

# awk writes whole lines, so that those of two files never mix; tr drops the NULs that a truncated file may be filled with.
# Descriptor 3 carries the process id of tail out of the pipeline; the others must not keep it open.
follow() {
  pid=$({ { tail -c +1 -f "$1" 2>/dev/null 3>&- & echo $! >&3; } | tr -d '\000' 3>&- | awk '{ print; fflush() }' >&9 3>&- & } 3>&1)
  eval "tail_$2=$pid"
  followed="$followed$IFS$2"
}

scan() {
  present=
  for pattern; do
    directory=${pattern%/*}
    if [ -d "$directory" ] && ! { [ -r "$directory" ] && [ -x "$directory" ]; }; then
      say_once "cannot read directory $directory as user $(id -u), group $(id -g)"
    fi
    for found in $(stat -L -c '%d_%i %n' $pattern 2>/dev/null); do
      inode=${found%% *} file=${found#* }
      [ -f "$file" ] || continue
      present="$present<$inode>"
      case $followed$IFS in *"$IFS$inode$IFS"*) continue ;; esac
      if [ -r "$file" ]; then
        follow "$file" "$inode"
      else
        say_once "cannot read $file as user $(id -u), group $(id -g): set runAsUser in sidecar.container.securityContext to the owner of the file"
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
    eval "age_$inode=$age pid=\$tail_$inode"
    if [ "$age" -gt 10 ]; then kill "$pid" 2>/dev/null; else kept="$kept$IFS$inode"; fi
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

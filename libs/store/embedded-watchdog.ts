/**
 * The shell script that stands between this process and Postgres, and outlives this process by as long as Postgres
 * needs to shut down. Its standard input is a pipe that this process holds: however this process ends, SIGKILL
 * included, the pipe closes and the server is told to stop. No exit hook could do that.
 *
 * Arguments: the postgres program, the log file, the named pipe of the joined processes, then Postgres's own arguments.
 *
 * - The line `stop` on standard input stops the server at once. Without it, processes that joined (each holds the named
 *   pipe open for writing) keep the server up until the last one of them is gone.
 * - Signals to the process group (Ctrl-C) are ignored: the application decides when its database goes.
 * - SIGINT is Postgres's fast shutdown. It is repeated because it is lost on a server that has not begun to listen for
 *   it, and becomes SIGQUIT (immediate shutdown, recovery at the next start) after a minute.
 * - Only POSIX sh and mkfifo, sleep, rm are needed.
 */
export const watchdogScript = `
trap '' INT HUP TERM
postgres=$1 log=$2 holders=$3
shift 3
exec 3<&0 </dev/null
rm -f "$holders" && mkfifo -m 600 "$holders" || exit 71
exec 4<>"$holders" 5<"$holders" 4>&-
"$postgres" "$@" >>"$log" 2>&1 3<&- 5<&- &
server=$!
(
  stop=
  while IFS= read -r line; do [ "$line" = stop ] && stop=yes; done <&3
  if [ -z "$stop" ]; then while IFS= read -r line; do :; done <&5; fi
  exec 5<&-
  rounds=0
  while kill -0 "$server" 2>/dev/null; do
    if [ "$rounds" -lt 60 ]; then kill -INT "$server"; else kill -QUIT "$server"; fi
    rounds=$((rounds + 1))
    sleep 1
  done
) 2>/dev/null &
guard=$!
exec 3<&- 5<&-
wait "$server"
code=$?
kill -KILL "$guard" 2>/dev/null
exit "$code"
`;

-- breaking: no
-- A message is given up once, by whoever owns its position: its dead letter, its done marker and the end of its row are one transaction. Before,
-- the letter came first and for itself. An owner that was replaced right after it left a message that was dead and handed over again, and whoever
-- redrove the letter had it handled twice.

-- Keeps a message that its group gives up as a dead letter, unless it was done after all.
-- p_letter: {"group", "topic", "partition", "offset", "id", "key", "value", "headers", "timestamp_ms", "reason", "error", "attempts"}, the value as text.
-- Returns 'buried'; 'already' when it is done or dead (its transaction committed, or an earlier call did, and the answer was lost); 'fenced' when
-- the position has another owner.
-- What was put off has a row, and whoever takes the row away decides. Anything else is decided by its done marker, as by a handler's transaction.
-- Locks: the fence of the position, shared; then the row of the retry or the done marker; then the dead letter.
create function sluice.bury(p_position integer, p_epoch bigint, p_letter json) returns text language plpgsql as $$
declare
  v_offset constant bigint := (p_letter ->> 'offset')::bigint;
  v_next bigint;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select p.next_offset into v_next from sluice.position p where p.position = p_position and p.epoch = p_epoch;
  if not found then return 'fenced'; end if;
  delete from sluice.retry r where r.position = p_position and r."offset" = v_offset;
  if not found then
    if v_offset < v_next then return 'already'; end if;
    insert into sluice.done (position, "offset") values (p_position, v_offset) on conflict do nothing;
    if not found then return 'already'; end if;
  end if;
  insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error, attempts)
  select l."group", l.topic, l.partition, l."offset", l.id, l.key, l.value, l.headers, to_timestamp(l.timestamp_ms / 1000), l.reason, l.error, l.attempts
  from json_to_record(p_letter) as l(
    "group" integer, topic integer, partition integer, "offset" bigint, id text, key text, value text, headers json,
    timestamp_ms double precision, reason text, error text, attempts integer)
  on conflict ("group", topic, partition, "offset") do nothing;
  return 'buried';
end $$;
comment on function sluice.bury(integer, bigint, json) is 'Internal: keeps a message that is given up as a dead letter.';

-- breaking: no
-- A refusal that was told stays one: a first try that the network held back must not enter a bounded topic after its repeat was refused.

-- The same as sluice.append_guarded, for a call that is a repeat: keeps its answer also when nothing was appended, because the first
-- try may still be on its way. It then hears the same. An ordinary refusal keeps nothing: it is what overload is made of.
-- Locks: as sluice.append_guarded.
create function sluice.append_guarded_again(
  p_topic integer, p_messages json, p_producer bigint, p_sequence bigint, p_commit text, p_ring text
) returns text language plpgsql as $$
declare
  v_answer text := sluice.append_guarded(p_topic, p_messages, p_producer, p_sequence, p_commit, p_ring);
begin
  insert into sluice.guarded_append (producer, sequence, answer, expires_at)
  values (p_producer, p_sequence, v_answer, clock_timestamp() + interval '1 hour')
  on conflict on constraint guarded_append_pkey do nothing;
  return v_answer;
end $$;
comment on function sluice.append_guarded_again is 'Internal: repeats an append to a topic that deduplicates or is bounded.';

-- breaking: no
-- Answers to messages that ask for one. The message goes through the log like any other; its headers say where the answer is
-- to be kept. The answer is a row here, found by whoever asked and forgotten when nobody can be waiting any more.

-- No foreign key anywhere: who asked is not known to the database, and what was asked may be long gone.
create table sluice.reply (
  inbox text collate "C" not null,
  correlation text collate "C" not null,
  value text,
  failure text,
  dropped integer not null default 0,
  replied_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  constraint reply_pkey primary key (inbox, correlation),
  constraint reply_inbox_form check (inbox ~ '^[A-Za-z0-9._-]{1,50}$'),
  constraint reply_correlation_size check (octet_length(correlation) between 1 and 128),
  constraint reply_value_size check (octet_length(value) <= 1048576),
  constraint reply_failure_known check (failure in ('exhausted', 'rejected', 'schema', 'expired')),
  constraint reply_one_outcome check ((value is null) <> (failure is null))
);
create index reply_expires_at on sluice.reply (expires_at);
comment on table sluice.reply is 'The first answer to each message that asked for one, until it expires. See the view sluice.replies.';
comment on column sluice.reply.inbox is 'Who asked: the message''s header reply-to. Rung for on the channel sluice_inbox_<inbox>, with the correlation as payload.';
comment on column sluice.reply.correlation is 'Which question it answers: the message''s header correlation-id.';
comment on column sluice.reply.value is 'The answer as JSON, in the spelling of whoever gave it.';
comment on column sluice.reply.failure is 'Why there will be no answer; then value is null.';
comment on column sluice.reply.dropped is 'Answers to the same question that came after this one and were dropped.';
comment on index sluice.reply_expires_at is 'For forgetting what nobody waits for any more.';

-- Keeps an answer unless there is one already, and returns whether it was kept. p_within_ms: how long whoever asked was going to wait, which
-- is how long it may still be waiting at most; so the clock of no other machine plays a part.
-- Locks: the row; an answer to the same question that is being committed elsewhere is waited for.
create function sluice.keep_reply(p_inbox text, p_correlation text, p_within_ms bigint, p_value text, p_failure text)
returns boolean language plpgsql as $$
begin
  insert into sluice.reply (inbox, correlation, value, failure, expires_at)
  values (p_inbox, p_correlation, p_value, p_failure,
    clock_timestamp() + make_interval(secs => least(greatest(p_within_ms, 1), 3600000) / 1000.0))
  on conflict on constraint reply_pkey do nothing;
  if found then return true; end if;
  update sluice.reply r set dropped = r.dropped + 1 where r.inbox = p_inbox and r.correlation = p_correlation;
  return false;
end $$;
comment on function sluice.keep_reply(text, text, bigint, text, text) is 'Internal: keeps an answer unless there is one already.';

-- Keeps several answers in the caller's transaction; used by the handlers' runtime. SQL uses sluice.reply.
-- replies: [{"inbox": "i", "correlation": "c", "withinMs": 5000, "value": …} or {…, "failure": "rejected"}, …]; values keep their spelling.
-- ring: tell those who asked when the transaction commits.
-- Returns how many were kept; the others came too late.
-- Locks: rows of sluice.reply in the order of their keys; the notification queue's, from the commit on, if it is to ring.
create function sluice.answer(p_replies json, p_ring boolean) returns integer language plpgsql as $$
declare
  v_reply record;
  v_kept integer := 0;
begin
  for v_reply in
    select r.reply ->> 'inbox' as inbox, r.reply ->> 'correlation' as correlation, (r.reply ->> 'withinMs')::bigint as within_ms,
      (r.reply -> 'value')::text as value, r.reply ->> 'failure' as failure
    from json_array_elements(p_replies) with ordinality as r(reply, number)
    order by r.reply ->> 'inbox' collate "C", r.reply ->> 'correlation' collate "C", r.number
  loop
    if sluice.keep_reply(v_reply.inbox, v_reply.correlation, v_reply.within_ms, v_reply.value, v_reply.failure) then
      v_kept := v_kept + 1;
      if p_ring then perform pg_notify('sluice_inbox_' || v_reply.inbox, v_reply.correlation); end if;
    end if;
  end loop;
  return v_kept;
end $$;
comment on function sluice.answer(json, boolean) is 'Internal: keeps answers to messages that asked for one.';

-- Answers a message from SQL: from psql, or a handler in any language, which needs nothing but the message's headers. In your transaction
-- the answer is given when that commits. The value is not checked against what the topic's replies are declared to be, which only
-- the code knows: whoever asked is told when it does not fit.
--
--   select sluice.reply(headers, value => '{"price":7}') from topics.prices where "offset" = 12;
--   select sluice.reply(headers, value => null, failure => 'rejected') from topics.prices where "offset" = 13;
--
-- Returns true for the first answer; false for a later one, which is dropped, and for a message that asked for none.
-- Fails when the headers or the value are of no use to whoever asked.
create function sluice.reply(headers json, value json, failure text default null) returns boolean language plpgsql as $$
declare
  v_inbox text := reply.headers ->> 'reply-to';
  v_correlation text := reply.headers ->> 'correlation-id';
  v_within text := reply.headers ->> 'reply-within-ms';
  v_kept boolean;
begin
  if v_inbox is null then return false; end if;
  if v_correlation is null then
    raise exception 'sluice: the header reply-to asks for an answer, and the header correlation-id is missing' using errcode = '22023';
  end if;
  if (reply.value is null) = (reply.failure is null) then
    raise exception 'sluice: an answer is a value or a failure, one of the two'
      using errcode = '22023', hint = 'Answer with the JSON null: ''null''.';
  end if;
  -- A text that Postgres cannot show would make the view sluice.replies fail for whoever reads it.
  perform reply.value::jsonb;
  v_kept := sluice.keep_reply(v_inbox, v_correlation, case when v_within ~ '^[0-9]{1,10}$' then v_within::bigint else 30000 end,
    reply.value::text, reply.failure);
  if v_kept then perform pg_notify('sluice_inbox_' || v_inbox, v_correlation); end if;
  return v_kept;
end $$;
comment on function sluice.reply(json, json, text) is
  'Answers a message that asked for it, within your transaction: select sluice.reply(headers, value => ''{"a":1}'') from topics.t where …';

-- Removes p_limit expired answers at most and returns how many it removed.
-- Locks: the rows; those in use are left for the next time.
create function sluice.forget_replies(p_limit integer) returns integer language plpgsql set enable_seqscan = off as $$
declare
  v_gone integer;
begin
  delete from sluice.reply where ctid = any (array(
    select ctid from sluice.reply where expires_at < clock_timestamp() order by expires_at limit p_limit for update skip locked));
  get diagnostics v_gone = row_count;
  return v_gone;
end $$;
comment on function sluice.forget_replies(integer) is 'Internal: removes expired answers, in a step of bounded size.';

create view sluice.replies as
select r.inbox, r.correlation, r.value::json as value, r.failure, r.dropped, r.replied_at, r.expires_at from sluice.reply r;
comment on view sluice.replies is 'Sluice: answers to messages that asked for one, until they expire.';
comment on column sluice.replies.inbox is 'Who asked: the message''s header reply-to.';
comment on column sluice.replies.correlation is 'Which question it answers: the message''s header correlation-id.';
comment on column sluice.replies.value is 'The answer; null when there will be none.';
comment on column sluice.replies.failure is 'Why there will be no answer. exhausted: the last attempt failed. rejected: the handler refused the message. schema: it does not fit the topic''s schema. expired: its time to live was over.';
comment on column sluice.replies.dropped is 'Answers to the same question that came later and were dropped.';
comment on column sluice.replies.expires_at is 'When nobody can be waiting for it any more; it is removed soon after.';

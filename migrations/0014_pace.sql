-- breaking: no
-- Pace: how fast a group may go, over all its processes.

create table sluice.pace (
  "group" integer not null,
  topic integer not null,
  key text not null,
  next_at timestamptz not null,
  constraint pace_pkey primary key ("group", topic, key),
  constraint pace_group foreign key ("group") references sluice.consumer_group ("group") on delete cascade,
  constraint pace_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint pace_key_size check (octet_length(key) <= 1024)
) with (fillfactor = 50);
comment on table sluice.pace is 'When a group with a rate limit may hand its next message over. (The generic cell rate algorithm, ITU-T I.371.)';
comment on column sluice.pace.key is 'The key whose limit it is; empty for a limit of the whole group.';
comment on column sluice.pace.next_at is 'The time of the next message that nobody has reserved yet; in the past when the limit is not reached.';

-- Reserves p_count messages of a group, one every p_interval_ms, after what others have reserved, and returns in how many
-- milliseconds the first may go. What was not used is not saved up.
-- Locks: the row of the limit, until the caller commits, which it does at once.
create function sluice.reserve_pace(p_group integer, p_topic integer, p_key text, p_count integer, p_interval_ms double precision)
returns double precision language plpgsql as $$
declare
  v_now timestamptz := clock_timestamp();
  v_length interval := make_interval(secs => p_count * p_interval_ms / 1000);
  v_end timestamptz;
begin
  insert into sluice.pace as p ("group", topic, key, next_at) values (p_group, p_topic, p_key, v_now + v_length)
  on conflict ("group", topic, key) do update set next_at = greatest(p.next_at, v_now) + v_length
  returning next_at into v_end;
  return extract(epoch from v_end - v_length - clock_timestamp()) * 1000;
end $$;
comment on function sluice.reserve_pace is 'Internal: reserves messages of a group with a rate limit.';

-- Forgets limits of keys that were not reached for a minute, p_limit of them. Returns how many.
-- Locks: the rows; those in use are left out.
create function sluice.forget_pace(p_limit integer) returns bigint language sql
begin atomic
  with old as (
    select "group", topic, key from sluice.pace where key <> '' and next_at < clock_timestamp() - interval '1 minute'
    limit p_limit for update skip locked),
  gone as (delete from sluice.pace p using old o where p."group" = o."group" and p.topic = o.topic and p.key = o.key returning 1)
  select count(*) from gone;
end;
comment on function sluice.forget_pace(integer) is 'Internal: forgets limits of keys that are idle.';

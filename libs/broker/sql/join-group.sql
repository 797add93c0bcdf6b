-- The number of the group named $1, made first if it is new.
-- Locks: none that another caller waits for longer than one insert.
with made as (
  insert into sluice.consumer_group (name)
  select $1::text where not exists (select from sluice.consumer_group where name = $1::text)
  on conflict (name) do nothing returning "group"
)
select "group" from made union all select "group" from sluice.consumer_group where name = $1::text

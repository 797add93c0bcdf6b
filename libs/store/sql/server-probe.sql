-- What kind of server this is.
-- Locks: none.
select
  current_setting('server_version_num')::integer as version,
  current_setting('server_version') as version_text,
  pg_is_in_recovery() as standby

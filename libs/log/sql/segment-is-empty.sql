-- Whether nothing was ever appended to segment {segment} of topic {topic}.
-- Locks: none.
select not exists (select from sluice_log.topic_{topic}_segment_{segment}) as empty

-- The segments of topic $1 that retention has left, oldest first, with where each partition begins in them.
-- Locks: none.
select s.segment, string_agg(s.start_offset::text, ',' order by s.partition) as starts
from sluice.segment_start s where s.topic = $1 group by s.segment order by s.segment

-- The id of the first entry of ours from an id on. The entry itself stays here: it may have many kilobytes, and the
-- search for a position looks at dozens of entries.
--
-- KEYS  1  sse:{topic}:log
-- ARGV  1  the id
-- Reply the id, or nothing

local entry = first_from(KEYS[1], ARGV[1])
return entry and entry[1]

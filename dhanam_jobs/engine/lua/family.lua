-- family: – (reads only)
-- The children of a parent that has not ended.
--
-- KEYS  1 root
-- ARGV  1 time  2 parent id  3 'children' | 'ends' | ''  4 cursor, '0' at first
-- Returns {mark or '', children, ended, next cursor ('0' at the end), key, value, …}: some of what was asked for, which
-- a repeated reading may meet twice.
-- include: root
local id, what = ARGV[2], ARGV[3]
local step = {'0', {}}
if what ~= '' then
  step = redis.call('HSCAN', root .. (what == 'ends' and 'child_ends:' or 'children:') .. id, ARGV[4], 'COUNT',
    what == 'ends' and 50 or 500)
end
return {redis.call('HGET', root .. 'families', id) or '', redis.call('HLEN', root .. 'children:' .. id),
  redis.call('HLEN', root .. 'child_ends:' .. id), step[1], unpack(step[2])}

-- wait: – (nothing moves)
-- Says that somebody waits for a job's result, so that retention doesn't take it before it was read.
--
-- KEYS  1 root
-- ARGV  1 time  2 job id  3 how long somebody waits (ms)
-- Returns {'ended', record} | {'missing'} | {'pending', id of the newest event}.
-- include: root places events moves finding
local state, detail = find(ARGV[2])
if not state then return {'missing'} end
if state == 'ended' then return {'ended', detail} end
local newest = redis.call('XREVRANGE', root .. 'events', '+', '-', 'COUNT', 1)[1]
redis.call('ZREM', root .. 'waited', '') -- a write that a full Redis accepts: it is emptied while somebody waits
redis.call('ZADD', root .. 'waited', now + tonumber(ARGV[3]), ARGV[2])
return {'pending', newest and newest[1] or '0-0'}

-- note: – (nothing moves)
-- Keeps what a running job tells of itself: how far it is, and lines of its log.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 place  4 entry  5 job id  6 progress, JSON, or ''  7 lines to keep  8… lines, JSON
-- Returns 1, or 0 where the worker no longer holds the claim; then nothing was changed.
-- include: root places events
local place, entry, id, progress = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
redis.call('XLEN', root .. 'events')
redis.call('HLEN', root .. 'notes')
redis.call('LLEN', root .. 'log:' .. id)
local pending = redis.pcall('XPENDING', root .. place, 'workers', entry, entry, 1)[1]
if not pending or pending[2] ~= ARGV[2] then return 0 end
if progress ~= '' then
  redis.call('HSET', root .. 'notes', id, progress)
  -- A large value is not repeated for every reader of the events.
  if #progress <= 1000 then tell(1, 'progress', id, 'value', progress) else tell(1, 'progress', id) end
else
  redis.call('HSETNX', root .. 'notes', id, '')
end
if #ARGV > 7 then
  redis.call('RPUSH', root .. 'log:' .. id, unpack(ARGV, 8))
  redis.call('LTRIM', root .. 'log:' .. id, -tonumber(ARGV[7]), -1)
end
return 1

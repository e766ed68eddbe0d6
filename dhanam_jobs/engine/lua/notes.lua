-- notes: – (reads only)
-- What a job has told of itself.
--
-- KEYS  1 root
-- ARGV  1 time  2 job id  3 first line (from 0; negative: from the end)  4 lines at most
-- A parent that told of no progress is as far as its children are.
-- Returns {progress, JSON, or '', lines that there are, line, …}.
-- include: root
local log = root .. 'log:' .. ARGV[2]
local first, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local length = redis.call('LLEN', log)
if first < 0 then first = math.max(0, length + first) end
local lines = count > 0 and redis.call('LRANGE', log, first, first + count - 1) or {}
local progress = redis.call('HGET', root .. 'notes', ARGV[2]) or ''
if progress == '' then
  local children = redis.call('HLEN', root .. 'children:' .. ARGV[2])
  if children > 0 then
    progress = string.format('{"children":%d,"ended":%d}', children, redis.call('HLEN', root .. 'child_ends:' .. ARGV[2]))
  end
end
return {progress, length, unpack(lines)}

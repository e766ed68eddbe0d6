-- meter: – (nothing moves)
-- Adds what a worker counted since its last call to the metrics of this minute and this hour, by job name. A call that
-- is repeated because its reply was lost counts once.
--
-- KEYS  1 root
-- ARGV  1 time  2 worker  3 number of this call, rising with each  4… job name and counts (JSON, see metrics.py), for each
-- Returns 1, or 0 where a call of this number was counted before.
-- include: root
local row = root .. 'worker:' .. ARGV[2]
local before = redis.call('HGET', row, 'metered')
if before and tonumber(before) >= tonumber(ARGV[3]) then return 0 end
local spans = {{'metrics:minute:', 60000, 1440}, {'metrics:hour:', 3600000, 720}}
redis.call('ZCARD', root .. 'metrics')
for i = 4, #ARGV, 2 do
  for _, span in ipairs(spans) do redis.call('HLEN', root .. span[1] .. ARGV[i]) end
end

local function add(key, ms, keep, counts)
  local start = now - now % ms
  local field = string.format('%d', start)
  local known = redis.call('HGET', key, field)
  local sum = known and cjson.decode(known) or {}
  for name, value in pairs(counts) do
    if type(value) == 'table' then
      local bins = sum[name] or {}
      for bound, number in pairs(value) do bins[bound] = (bins[bound] or 0) + number end
      sum[name] = bins
    else
      sum[name] = (sum[name] or 0) + value
    end
  end
  redis.call('HSET', key, field, cjson.encode(sum))
  if known then return end
  -- A span begins: those that are too old go, and all of them where no other begins for as long.
  for _, old in ipairs(redis.call('HKEYS', key)) do
    if tonumber(old) <= start - keep * ms then redis.call('HDEL', key, old) end
  end
  redis.call('PEXPIRE', key, (keep + 1) * ms)
end

for i = 4, #ARGV, 2 do
  redis.call('ZADD', root .. 'metrics', now, ARGV[i]) -- a write that a full Redis refuses
  local counts = cjson.decode(ARGV[i + 1])
  for _, span in ipairs(spans) do add(root .. span[1] .. ARGV[i], span[2], span[3], counts) end
end
redis.call('ZREMRANGEBYSCORE', root .. 'metrics', '-inf', now - 2592000000)
if redis.call('EXISTS', row) == 1 then redis.call('HSET', row, 'metered', ARGV[3]) end
return 1

-- The event stream: one entry may tell of a batch, as `<state reached> "<id> <id> …"`. It is bounded twice: by entries,
-- and by the ids in large entries, which `heavy_ids` counts and which halve the stream when they pass their limit.
local function tell(count, ...)
  local events = root .. 'events'
  redis.call('XADD', events, 'MAXLEN', '~', 10000, '*', ...)
  if count > 20 then
    local ids = redis.call('HINCRBY', root .. 'meta', 'heavy_ids', count)
    if ids > 200000 then
      redis.call('XTRIM', events, 'MAXLEN', math.floor(redis.call('XLEN', events) / 2))
      redis.call('HSET', root .. 'meta', 'heavy_ids', 100000)
    end
  end
end

-- One token is enough: whoever answers the bell and leaves work behind rings again.
local function ring()
  redis.call('ZADD', root .. 'bell', 0, 'work')
end

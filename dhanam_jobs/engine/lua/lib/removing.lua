-- Taking jobs that have not ended out of the queue. Needs root, places, events, moves, finding, endings.

-- Reads every key that removing touches: one of a wrong type refuses the call here, before anything was written.
local function check_removing(places)
  check_places(places, true)
  redis.call('XLEN', root .. 'events')
  redis.call('ZCARD', root .. 'bell')
  for _, name in ipairs({'delayed', 'blocked', 'parked', 'waited', 'completed', 'failed', 'cancelled', 'dead'}) do
    redis.call('ZCARD', root .. name)
  end
  for _, name in ipairs({'index', 'unique', 'ended', 'joined', 'runs', 'buried', 'notes', 'cancelling'}) do
    redis.call('HLEN', root .. name)
  end
end

-- The value of one field of a flat list, or nil.
local function field_of(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- Takes a job out of its place: the first write is one that a full Redis accepts. Its id stays in `index`.
local function take_out(id, state, place, entry)
  if entry then
    if state == 'active' then redis.call('XACK', root .. place, 'workers', entry) end
    redis.call('XDEL', root .. place, entry)
    give_back(place, {entry})
    if state == 'active' then ring() end -- a limit may have room now
    return
  end
  local rest = string.match(redis.call('HGET', root .. 'index', id), '^%S+ (.*)$')
  if state == 'waiting' then
    leave_line(id, rest)
    ring()
    return
  end
  if state == 'blocked' then
    redis.call('ZREM', root .. 'blocked', id)
    local held = redis.pcall('LRANGE', root .. 'held:' .. rest, 0, -1)
    for _, one in ipairs(held) do
      if string.sub(one, 42) == id then redis.call('LREM', root .. 'held:' .. rest, 0, one) end
    end
  else
    redis.call('ZREM', root .. state, rest)
  end
  redis.call('DEL', root .. 'job:' .. id)
end

-- Tells the worker of an active job that is taken away to end its handler. What it never hears, its next trip tells it.
local function call_off(id, worker, place, entry, reason)
  if not redis.call('ZSCORE', root .. 'workers', worker) then return end
  local inbox = root .. 'inbox:' .. worker
  redis.pcall('RPUSH', inbox, cjson.encode({cancel = id, place = place, entry = entry, reason = reason}))
  redis.pcall('LTRIM', inbox, -1000, -1)
end

-- Removes a job that has not ended, with all that was noted of it, and hands its unique key on. Returns places.
local function remove_live(id, state, place, fields, entry, places)
  take_out(id, state, place, entry)
  redis.call('HDEL', root .. 'index', id)
  redis.call('HDEL', root .. 'cancelling', id)
  redis.call('HDEL', root .. 'runs', id)
  redis.call('HDEL', root .. 'joined', id)
  forget_notes({id})
  redis.call('ZREM', root .. 'waited', id)
  redis.call('HINCRBY', root .. 'meta', 'removed', 1)
  hand_over({id}, {removed_record(id)})
  forget_families({id})
  local key = field_of(fields, 'unique')
  if key then places = free_unique(key, id, places) end
  return places
end

-- Forgets the record of a job that has ended.
local function remove_ended(id)
  redis.call('ZREM', root .. 'completed', id)
  redis.call('ZREM', root .. 'failed', id)
  redis.call('ZREM', root .. 'cancelled', id)
  redis.call('HDEL', root .. 'ended', id)
  redis.call('DEL', root .. 'result:' .. id)
  redis.call('HDEL', root .. 'joined', id)
  forget_notes({id})
end

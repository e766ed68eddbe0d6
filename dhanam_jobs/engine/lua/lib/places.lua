-- The streams of a queue. A place is `front:<level>`, `waiting:<level>`, or `admitted:<level>` for jobs with a key, which
-- stand there only while they are active. The field `places` of `meta` names those that exist, most urgent level first
-- and front before waiting, which is the order in which they are claimed.
local function open_place(place, places)
  if string.find(places, place, 1, true) then return places end
  if redis.call('EXISTS', root .. place) == 0 then
    redis.call('XGROUP', 'CREATE', root .. place, 'workers', '0', 'MKSTREAM')
  end
  local list = {}
  for level = 0, 9 do
    for _, kind in ipairs({'front:', 'waiting:', 'admitted:'}) do
      local other = kind .. level
      if other == place or string.find(places, other, 1, true) then list[#list + 1] = other end
    end
  end
  places = table.concat(list, ' ')
  redis.call('HSET', root .. 'meta', 'places', places)
  return places
end

-- Reads the streams that exist, or all that a job could be moved to: one of a wrong type refuses the call here, before
-- anything was written.
local function check_places(places, all)
  if not all then
    for place in string.gmatch(places, '%S+') do redis.call('XLEN', root .. place) end
    return
  end
  for level = 0, 9 do
    redis.call('XLEN', root .. 'front:' .. level)
    redis.call('XLEN', root .. 'waiting:' .. level)
  end
  redis.call('ZCARD', root .. 'keyed')
  redis.call('ZCARD', root .. 'turns')
  redis.call('ZCARD', root .. 'resting')
  redis.call('HLEN', root .. 'limits')
  redis.call('HLEN', root .. 'holding')
  redis.call('HLEN', root .. 'running')
end

-- A command on a place's group; the group is made anew at 0 where it is gone (a stream deleted by hand, or lost).
local function on_group(place, ...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'NOGROUP', 1, true) or string.find(reply.err, 'no such key', 1, true) then
      redis.call('XGROUP', 'CREATE', root .. place, 'workers', '0', 'MKSTREAM')
      return redis.call(...)
    end
    return error(reply.err, 0)
  end
  return reply
end

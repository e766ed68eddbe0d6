-- Moving jobs that aren't at home: fields are a flat list as in a stream entry, the id first.
-- Needs root, places, events, limits.

-- The fields of a job kept beside the streams (hash `job:<id>`), the id first; its level, and when it
-- may run (ms) where it waits for a key and isn't due yet. Nil where they are gone,
-- overwritten by another type included: one damaged job must not stop those behind it.
local function kept_fields(id)
  local flat = redis.pcall('HGETALL', root .. 'job:' .. id)
  if flat.err or #flat == 0 then return nil end
  local fields, level, due = {'id', id}, 5, nil
  for i = 1, #flat, 2 do
    if flat[i] == 'priority' then
      level = flat[i + 1]
    elseif flat[i] == 'due' then
      due = tonumber(flat[i + 1])
    elseif flat[i] ~= 'id' then
      fields[#fields + 1] = flat[i]
      fields[#fields + 1] = flat[i + 1]
    end
  end
  return fields, level, due
end

-- The fields of an entry, the id first, with `created`; `changes` is a table of fields to set ('' takes one away).
local function changed_fields(place, entry, flat, changes)
  local map, order = {}, {}
  for i = 1, #flat, 2 do
    map[flat[i]] = flat[i + 1]
    order[#order + 1] = flat[i]
  end
  local id = map.id or (string.sub(place, -1) .. '-' .. entry)
  if not map.created then
    map.created = string.match(entry, '^%d+')
    order[#order + 1] = 'created'
  end
  for field, value in pairs(changes) do
    if map[field] == nil then order[#order + 1] = field end
    map[field] = value
  end
  local fields = {'id', id}
  for _, field in ipairs(order) do
    if field ~= 'id' and map[field] ~= '' then
      fields[#fields + 1] = field
      fields[#fields + 1] = map[field]
    end
  end
  return id, fields, map
end

-- Puts a job into a stream, or into the line of its key, and remembers where. Returns the places.
local function put_waiting(place, id, fields, places)
  local key = limit_key(fields)
  if key then
    line_up(id, key, tonumber(string.sub(place, -1)), string.sub(place, 1, 6) == 'front:', fields)
    return places
  end
  places = open_place(place, places)
  local entry = redis.call('XADD', root .. place, '*', unpack(fields))
  redis.call('HSET', root .. 'index', id, place .. ' ' .. entry)
  return places
end

-- Keeps the fields of a job beside the streams. Never the first write of a script: DEL is one that a full Redis accepts.
local function keep_fields(id, level, fields)
  redis.call('DEL', root .. 'job:' .. id)
  redis.call('HSET', root .. 'job:' .. id, 'priority', level, unpack(fields))
end

-- True where a delayed job is due.
local function any_due()
  return #redis.call('ZRANGEBYSCORE', root .. 'delayed', '-inf', now, 'LIMIT', 0, 1) > 0
end

-- Keeps a job beside the streams, due at `due` ms; equal due times keep their order by the rising number.
local function put_delayed(id, level, fields, due)
  local member = string.format('%015d:%s', redis.call('HINCRBY', root .. 'meta', 'sequence', 1), id)
  keep_fields(id, level, fields)
  redis.call('ZADD', root .. 'delayed', due, member)
  redis.call('HSET', root .. 'index', id, 'delayed ' .. member)
  return member
end

-- Moves at most `limit` due jobs into their streams. Returns places, and how many were moved.
local function promote(places, limit)
  local due = redis.call('ZRANGEBYSCORE', root .. 'delayed', '-inf', now, 'LIMIT', 0, limit)
  if #due == 0 then return places, 0 end
  local moved = {}
  for _, member in ipairs(due) do
    redis.call('ZREM', root .. 'delayed', member)
    local id = string.sub(member, 17)
    local fields, level = kept_fields(id)
    if fields then
      redis.call('DEL', root .. 'job:' .. id)
      places = put_waiting('waiting:' .. level, id, fields, places)
      moved[#moved + 1] = id
    end
  end
  if #moved > 0 then
    tell(#moved, 'waiting', table.concat(moved, ' '))
    ring()
  end
  return places, #moved
end

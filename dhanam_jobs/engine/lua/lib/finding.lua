-- Finding a job by its id, in every state. Returns state, detail, place, fields (flat, as in an entry), and its entry
-- where it is in a stream:
--   'ended', record | 'waiting', entry, place | 'active', worker, place | 'delayed', due ms | 'blocked', unique key
--   | 'parked', name | nil; a waiting job in the line of its key has no entry: 'waiting', key, 'kept:<level>', fields
local function find(id)
  local place, rest
  local where = redis.call('HGET', root .. 'index', id)
  if where then
    place, rest = string.match(where, '^(%S+) (.*)$')
    if place == 'keyed' then
      local fields, level = kept_fields(id)
      if not fields then return nil end
      return 'waiting', rest, 'kept:' .. level, fields
    end
    if place == 'delayed' or place == 'blocked' or place == 'parked' then
      local fields, level = kept_fields(id)
      if not fields then return nil end
      local detail = rest
      if place == 'delayed' then detail = redis.call('ZSCORE', root .. 'delayed', rest) or '' end
      if place == 'parked' then detail = string.match(rest, '^%S+') end
      return place, detail, 'kept:' .. level, fields
    end
  else
    local record = redis.call('HGET', root .. 'ended', id) or redis.call('GET', root .. 'result:' .. id)
    if record then return 'ended', record end
    local level, entry = string.match(id, '^(%d)%-(%d+%-%d+)$')
    -- An id that only looks like a generated one may hold numbers that no entry can have: XRANGE would refuse them.
    if not level or string.find(entry, '%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') then return nil end
    place, rest = 'waiting:' .. level, entry
  end
  local found = redis.call('XRANGE', root .. place, rest, rest)[1]
  if not found then return nil end
  -- Without a group nobody holds it; a look-up makes none.
  local pending = redis.pcall('XPENDING', root .. place, 'workers', rest, rest, 1)[1]
  if pending then return 'active', pending[2], place, found[2], rest end
  return 'waiting', rest, place, found[2], rest
end

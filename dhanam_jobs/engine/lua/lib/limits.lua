-- Limits: a job with a key (the field `key`) waits in the line of its key, and keys take turns. Needs root and places.
-- `keyed` and `keyed:<key>` order ids by level, what came back before what is new, then age. `turns` holds the keys whose
-- turn comes, by the level of their first job, then in turn; `resting` those that may start again at a time (ms).
-- `holding` says to which key an entry of `admitted:<level>` belongs, `running` how many such entries a key has.
-- A limit is the text `<concurrency> <starts> <period ms>`, 0 for what isn't limited. Starts within the last period are
-- logged in `starts` and `starts:<key>`, so that no period, wherever it begins, sees more of them than allowed.
local STEP = 1e14

-- The key of a job whose fields are given flat, or nil.
local function limit_key(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'key' then return fields[i + 1] end
  end
end

local function parse_limit(text)
  local concurrency, starts, period = string.match(text or '', '^(%d+) (%d+) (%d+)$')
  return tonumber(concurrency or 0), tonumber(starts or 0), tonumber(period or 0)
end

-- How many of `want` starts are free, and where it is fewer, when the next one is (ms; nil where it is free now).
local function starts_left(log, starts, period, want)
  local length = redis.pcall('LLEN', log)
  if type(length) ~= 'number' then return want end
  local left = math.max(0, starts - length)
  if left >= want then return want end
  local from = math.max(0, length - starts)
  for _, at in ipairs(redis.call('LRANGE', log, from, from + want - left - 1)) do
    if at + period > now then return left, at + period end
    left = left + 1
  end
  return left
end

local function log_starts(log, starts, period, count)
  local at = string.format('%d', now)
  if type(redis.pcall('LLEN', log)) ~= 'number' then redis.call('DEL', log) end
  for _ = 1, count do redis.call('RPUSH', log, at) end
  redis.call('LTRIM', log, -starts, -1)
  redis.call('PEXPIRE', log, period + spare)
end

-- What limits keys at all, read once in a script: most queues have no limits, or one for all keys.
local known
local function known_limits()
  if not known then
    known = {count = redis.call('HLEN', root .. 'limits'), all = redis.call('HGET', root .. 'limits', 'keys'),
      told_until = tonumber(redis.call('HGET', root .. 'meta', 'told_until') or 0)}
  end
  return known
end

-- Concurrency, starts and period (ms) of a key.
local function limit_of(key)
  local limits = known_limits()
  if limits.count == 0 then return 0, 0, 0 end
  local own = limits.count > (limits.all and 1 or 0) and redis.call('HGET', root .. 'limits', 'key:' .. key)
  return parse_limit(own or limits.all)
end

-- True where the key may start a job now; else when it may (ms), or nil where that takes the end of one that runs. Then
-- its limit.
local function may_start(key)
  local concurrency, starts, period = limit_of(key)
  if concurrency > 0 and tonumber(redis.call('HGET', root .. 'running', key) or 0) >= concurrency then return false end
  local told = known_limits().told_until > now and redis.pcall('GET', root .. 'limited:' .. key)
  local opens = type(told) == 'string' and tonumber(told) or nil
  if opens and opens <= now then opens = nil end
  if starts > 0 then
    local left, at = starts_left(root .. 'starts:' .. key, starts, period, 1)
    if left == 0 then opens = math.max(opens or 0, at) end
  end
  if opens then return false, opens end
  return true, nil, starts, period
end

-- The level-and-front part of the first score of a key's line, its job, and that part of the second one's; nil where
-- the line is empty (or of a wrong type).
local function first_of(key)
  local head = redis.pcall('ZRANGE', root .. 'keyed:' .. key, 0, 1, 'WITHSCORES')
  if head.err or not head[1] then return nil end
  return math.floor(head[2] / STEP), head[1], head[4] and math.floor(head[4] / STEP)
end

local function give_turn(key, code)
  local turn = redis.call('HINCRBY', root .. 'meta', 'turn', 1)
  redis.call('ZADD', root .. 'turns', string.format('%.0f', code * STEP + turn), key)
end

local function rest(key, opens)
  redis.call('ZREM', root .. 'turns', key)
  if opens then
    redis.call('ZADD', root .. 'resting', string.format('%d', opens), key)
  else
    redis.call('ZREM', root .. 'resting', key)
  end
end

-- Looks at a key after its line, its limit or what it runs has changed. A key that has a turn of that level keeps it.
local function refresh(key)
  local code = first_of(key)
  if not code then return rest(key) end
  local ready, opens = may_start(key)
  if not ready then return rest(key, opens) end
  redis.call('ZREM', root .. 'resting', key)
  local turn = redis.call('ZSCORE', root .. 'turns', key)
  if not turn or math.floor(turn / STEP) ~= code then give_turn(key, code) end
end

-- True once this call has put a job into a line: what it read of `meta` before is out of date.
local noted_keyed = false

-- Puts a job into the line of its key: behind those of its level, or before them with what came back.
local function line_up(id, key, level, front, fields)
  local line = root .. 'keyed:' .. key
  local number = redis.call('HINCRBY', root .. 'meta', 'sequence', 1)
  local score = string.format('%.0f', (level * 2 + (front and 0 or 1)) * STEP + number)
  if type(redis.pcall('ZCARD', line)) ~= 'number' then redis.call('DEL', line) end
  redis.call('DEL', root .. 'job:' .. id)
  redis.call('HSET', root .. 'job:' .. id, 'priority', level, unpack(fields))
  redis.call('ZADD', line, score, id)
  redis.call('ZADD', root .. 'keyed', score, id)
  redis.call('HSET', root .. 'index', id, 'keyed ' .. key)
  if not noted_keyed then
    redis.call('HSETNX', root .. 'meta', 'keyed', '1')
    noted_keyed = true
  end
  if redis.call('ZRANK', line, id) == 0 then refresh(key) end
end

-- Takes a job out of its key's line, and its body away.
local function leave_line(id, key)
  redis.call('ZREM', root .. 'keyed', id)
  redis.pcall('ZREM', root .. 'keyed:' .. key, id)
  redis.call('DEL', root .. 'job:' .. id)
  refresh(key)
end

-- Gives a job in line another level, at the end of it (or of what came back).
local function move_in_line(id, key, level)
  local score = redis.call('ZSCORE', root .. 'keyed', id)
  local front = score and math.floor(score / STEP) % 2 == 0
  local number = redis.call('HINCRBY', root .. 'meta', 'sequence', 1)
  score = string.format('%.0f', (level * 2 + (front and 0 or 1)) * STEP + number)
  redis.call('HSET', root .. 'job:' .. id, 'priority', level)
  redis.call('ZADD', root .. 'keyed', score, id)
  redis.pcall('ZADD', root .. 'keyed:' .. key, score, id)
  refresh(key)
end

-- Claims of a place (at most a thousand) have ended, however that came: what they held of their keys is free.
local function give_back(place, entries)
  if string.sub(place, 1, 9) ~= 'admitted:' or #entries == 0 then return end
  local held, counts = {}, {}
  for i, entry in ipairs(entries) do held[i] = place .. ' ' .. entry end
  for _, key in ipairs(redis.call('HMGET', root .. 'holding', unpack(held))) do
    if key then counts[key] = (counts[key] or 0) + 1 end
  end
  redis.call('HDEL', root .. 'holding', unpack(held))
  for key, count in pairs(counts) do
    if redis.call('HINCRBY', root .. 'running', key, -count) <= 0 then redis.call('HDEL', root .. 'running', key) end
    -- A key that has a turn is asked when that comes; one without a line has none to come.
    if not redis.call('ZSCORE', root .. 'turns', key) and first_of(key) then refresh(key) end
  end
end

-- Nothing of a key (or with key nil, of the queue) starts for so many ms; a longer such time that runs goes on.
local function limit_for(key, ms)
  local opens = now + ms
  if key and opens > known_limits().told_until then
    known.told_until = opens
    redis.call('HSET', root .. 'meta', 'told_until', string.format('%d', opens))
  end
  if not key then
    local known = tonumber(redis.call('HGET', root .. 'meta', 'limited_until') or 0)
    redis.call('HSET', root .. 'meta', 'limited_until', string.format('%d', math.max(opens, known)))
    return
  end
  local known = redis.pcall('GET', root .. 'limited:' .. key)
  if type(known) == 'string' and (tonumber(known) or 0) >= opens then return end
  redis.call('SET', root .. 'limited:' .. key, string.format('%d', opens), 'PX', math.max(1, ms) + spare)
  refresh(key)
end

-- Keys whose rest is over get a turn, at most `limit`. Returns how many were looked at.
local function wake_rested(limit)
  local due = redis.call('ZRANGEBYSCORE', root .. 'resting', '-inf', now, 'LIMIT', 0, limit)
  for _, key in ipairs(due) do
    redis.call('ZREM', root .. 'resting', key)
    refresh(key)
  end
  return #due
end

-- The most urgent level of which a key has its turn, or nil.
local function next_turn()
  local head = redis.call('ZRANGE', root .. 'turns', 0, 0, 'WITHSCORES')
  return head[1] and math.floor(head[2] / STEP / 2)
end

-- How many of `want` the queue may start, and when it may start more where that is a matter of time (ms).
local function queue_room(limit, until_ms, want, places)
  if until_ms and tonumber(until_ms) > now then return 0, tonumber(until_ms) end
  local concurrency, starts, period = parse_limit(limit)
  if concurrency > 0 then
    local active = 0
    for place in string.gmatch(places, '%S+') do
      local pending = redis.pcall('XPENDING', root .. place, 'workers')
      active = active + (not pending.err and pending[1] or 0)
    end
    want = math.min(want, concurrency - active)
    if want <= 0 then return 0 end -- whoever ends one starts the next
  end
  if starts > 0 then return starts_left(root .. 'starts', starts, period, math.max(1, want)) end
  return want
end

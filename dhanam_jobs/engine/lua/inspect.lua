-- inspect: – (reads only)
-- One bounded step of checking what must always be true, atomic within the step.
--
-- KEYS  1 root
-- ARGV  1 time  2 what  3 cursor (or place, or key)  4 cursor within a place
--       what: counts | index | ended | delayed | blocked | parked | unique | entries | kept
-- Returns for counts a flat list of name and number; else {next cursor ('0' or '' at the end), problem, problem, …}.
-- include: root places events moves finding
local what, cursor = ARGV[2], ARGV[3]
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local problems = {}
local function problem(...) problems[#problems + 1] = table.concat({...}) end

if what == 'counts' then
  local meta = redis.call('HMGET', root .. 'meta', 'added', 'completed', 'failed', 'cancelled', 'removed', 'revived')
  local streamed, active = 0, 0
  for place in string.gmatch(places, '%S+') do
    local pending = redis.pcall('XPENDING', root .. place, 'workers')
    streamed = streamed + redis.call('XLEN', root .. place)
    active = active + (not pending.err and pending[1] or 0)
  end
  return {'added', tonumber(meta[1] or 0), 'completed', tonumber(meta[2] or 0), 'failed', tonumber(meta[3] or 0),
    'cancelled', tonumber(meta[4] or 0), 'removed', tonumber(meta[5] or 0), 'revived', tonumber(meta[6] or 0),
    'waiting', streamed - active, 'active', active, 'delayed', redis.call('ZCARD', root .. 'delayed'),
    'blocked', redis.call('ZCARD', root .. 'blocked'), 'parked', redis.call('ZCARD', root .. 'parked'),
    'records', redis.call('HLEN', root .. 'ended'), 'retained', redis.call('ZCARD', root .. 'completed')
    + redis.call('ZCARD', root .. 'failed') + redis.call('ZCARD', root .. 'cancelled')}
end

if what == 'entries' then
  local place, from = cursor, ARGV[4]
  local entries = redis.call('XRANGE', root .. place, from == '' and '-' or '(' .. from, '+', 'COUNT', 200)
  local next_cursor = ''
  for _, entry in ipairs(entries) do
    next_cursor = entry[1]
    local map = {}
    for i = 1, #entry[2], 2 do map[entry[2][i]] = entry[2][i + 1] end
    if not map.name or not map.payload then
      problem(place, ' ', entry[1], ': an entry without name or payload')
    end
    if map.id and redis.call('HGET', root .. 'index', map.id) ~= place .. ' ' .. entry[1] then
      problem(place, ' ', entry[1], ': job ', map.id, ' is not where the index says')
    end
    local held = on_group(place, 'XPENDING', root .. place, 'workers', entry[1], entry[1], 1)[1]
    if held and not redis.call('ZSCORE', root .. 'workers', held[2]) then
      problem(place, ' ', entry[1], ': claimed by ', held[2], ', which is no live worker')
    end
  end
  return {#entries == 200 and next_cursor or '', unpack(problems)}
end

if what == 'kept' then
  if redis.call('EXISTS', root .. 'job:' .. cursor) == 1 then
    local where = redis.call('HGET', root .. 'index', cursor) or ''
    local place = string.match(where, '^%S+')
    if place ~= 'delayed' and place ~= 'blocked' and place ~= 'parked' then
      problem('job:', cursor, ': kept beside the streams, but the index says "', where, '"')
    end
  end
  return {'', unpack(problems)}
end

local scans = {index = 'HSCAN', ended = 'HSCAN', unique = 'HSCAN', delayed = 'ZSCAN', blocked = 'ZSCAN', parked = 'ZSCAN'}
local step = redis.call(scans[what], root .. what, cursor, 'COUNT', 200)
for i = 1, #step[2], 2 do
  local item, value = step[2][i], step[2][i + 1]
  if what == 'index' then
    local state = find(item)
    if not state or state == 'ended' then problem('index ', item, ': "', value, '" leads nowhere') end
    if string.find(value, '^delayed ') and not redis.call('ZSCORE', root .. 'delayed', string.sub(value, 9)) then
      problem('index ', item, ': "', value, '", but it is not among the delayed')
    end
    if string.find(value, '^blocked ') and not redis.call('ZSCORE', root .. 'blocked', item) then
      problem('index ', item, ': "', value, '", but it is not among the blocked')
    end
    if redis.call('HEXISTS', root .. 'ended', item) == 1 then problem('job ', item, ': both ended and ', value) end
  elseif what == 'ended' then
    local state = string.match(value, '"state":"(%a+)"')
    if not state or not redis.call('ZSCORE', root .. state, item) then
      problem('ended ', item, ': a record that no list of ended jobs holds')
    end
  elseif what == 'unique' then
    local owner = string.sub(value, 42)
    local state = find(owner)
    if not state or state == 'ended' then problem('unique key ', item, ': held by ', owner, ', which is no live job') end
  else
    local id = item
    if what == 'delayed' then id = string.sub(item, 17) end
    if what == 'parked' then id = string.match(item, '^%S+ %d+ (.*)$') end
    if redis.call('EXISTS', root .. 'job:' .. id) == 0 then problem(what, ' ', id, ': its body is gone') end
    if string.match(redis.call('HGET', root .. 'index', id) or '', '^%S+') ~= what then
      problem(what, ' ', id, ': the index says otherwise')
    end
  end
end
return {step[1], unpack(problems)}

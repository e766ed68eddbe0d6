-- explain: – (reads only)
-- What decides when a job will run; the jobs before it in its own stream are counted in bounded steps.
--
-- KEYS  1 root
-- ARGV  1 time  2 job id  3 entry after which to go on counting ('' at first)  4 entries to count at most
-- Returns {} where there is no such job; else a flat list of name and text, what doesn't apply left out: state, now_ms,
-- place, paused_ms, workers, busy (claims held), urgent (jobs in places that are claimed first), before (counted by this
-- call), counted (last entry counted, where it is to be called again), due_ms, name, key, holder, holder_state, ahead
-- (jobs held by the key before it), queue_limited (the limit that stops all), queue_opens_ms, limit_key, key_limit,
-- key_running, key_limited ('1' where it stops the job), key_opens_ms, children and child_ends (of a job that waits for them), worker, idle_ms (since it was
-- claimed).
-- include: root places events limits moves finding
local id, from, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local state, detail, place, fields, entry = find(id)
if not state then return {} end
local said = {'state', state, 'now_ms', string.format('%d', now)}
local function say(name, value)
  said[#said + 1] = name
  said[#said + 1] = tostring(value)
end
if state == 'ended' then
  say('ended', string.match(detail, '"state":"(%a+)"') or '')
  return said
end
say('place', place)
for i = 1, #fields, 2 do
  if fields[i] == 'name' then say('name', fields[i + 1]) end
  if fields[i] == 'unique' then say('key', fields[i + 1]) end
end
local meta = redis.call('HMGET', root .. 'meta', 'places', 'paused', 'limit', 'limited_until')
if meta[2] then say('paused_ms', meta[2]) end
say('workers', redis.call('ZCARD', root .. 'workers'))
local urgent, busy, reached = 0, 0, state ~= 'waiting'
for other in string.gmatch(meta[1] or '', '%S+') do
  local pending = redis.pcall('XPENDING', root .. other, 'workers')
  local held = not pending.err and pending[1] or 0
  busy = busy + held
  if other == place then reached = true end
  if not reached then urgent = urgent + redis.call('XLEN', root .. other) - held end
end
say('busy', busy)
if meta[3] or meta[4] then
  local room, opens = queue_room(meta[3], meta[4], 1, meta[1] or '')
  if room == 0 then
    say('queue_limited', meta[3] or '')
    if opens then say('queue_opens_ms', string.format('%d', opens)) end
  end
end
if state == 'waiting' and not entry then
  local own = redis.call('HMGET', root .. 'limits', 'key:' .. detail, 'keys')
  say('limit_key', detail)
  say('before', redis.call('ZRANK', root .. 'keyed:' .. detail, id) or 0)
  say('key_limit', own[1] or own[2] or '')
  say('key_running', redis.call('HGET', root .. 'running', detail) or 0)
  local ready, opens = may_start(detail)
  if not ready then say('key_limited', 1) end
  if opens then say('key_opens_ms', string.format('%d', opens)) end
elseif state == 'waiting' then
  say('urgent', urgent)
  if from == '' then
    from = '0-0'
    local groups = redis.pcall('XINFO', 'GROUPS', root .. place)
    if not groups.err and groups[1] then
      for i = 1, #groups[1], 2 do
        if groups[1][i] == 'last-delivered-id' then from = groups[1][i + 1] end
      end
    end
  end
  local entries = redis.call('XRANGE', root .. place, '(' .. from, '(' .. entry, 'COUNT', limit)
  say('before', #entries)
  if #entries == limit then say('counted', entries[#entries][1]) end
elseif state == 'active' then
  say('worker', detail)
  say('idle_ms', redis.call('XPENDING', root .. place, 'workers', entry, entry, 1)[1][3])
elseif state == 'delayed' then
  say('due_ms', string.format('%d', tonumber(detail) or 0))
elseif detail == 'for children' then
  say('children', redis.call('HLEN', root .. 'children:' .. id))
  say('child_ends', redis.call('HLEN', root .. 'child_ends:' .. id))
elseif state == 'blocked' then
  local owner = redis.call('HGET', root .. 'unique', detail)
  if owner then
    local holder = string.sub(owner, 42)
    say('holder', holder)
    local holder_state = find(holder)
    say('holder_state', holder_state or 'missing')
  end
  local held = redis.pcall('LRANGE', root .. 'held:' .. detail, 0, -1)
  for position, one in ipairs(held) do
    if string.sub(one, 42) == id then say('ahead', position - 1) end
  end
end
return said

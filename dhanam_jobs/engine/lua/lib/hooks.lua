-- Final failures of which nobody has told a hook yet. Needs root.
-- `hooks` names the jobs that have hooks, by when a worker last said so (ms). `untold:<name>` orders members
-- '<finished ms> <id>' by the time (ms) from which any worker may tell of them; `untold` maps a member to its record.
local UNTOLD_KEPT = 10000

-- Keeps failures (`ids` and `records` side by side) until their hooks were told, for `wait` ms by who settled them. Stores
-- of a wrong type stop no job from ending.
local function keep_untold(ids, records, wait)
  if #ids == 0 then return end
  local hooks, untold = redis.pcall('ZCARD', root .. 'hooks'), redis.pcall('HLEN', root .. 'untold')
  if type(hooks) ~= 'number' or type(untold) ~= 'number' or hooks == 0 then return end
  for i, record in ipairs(records) do
    local name = string.gsub(string.match(record, '"name":"([^"]*)"') or '', '\\/', '/')
    local line = root .. 'untold:' .. name
    if redis.call('ZSCORE', root .. 'hooks', name) and type(redis.pcall('ZCARD', line)) == 'number' then
      local member = (string.match(record, '"finished_ms":(%d+)') or '0') .. ' ' .. ids[i]
      redis.call('ZADD', line, now + wait, member)
      redis.call('HSET', root .. 'untold', member, record)
      if untold + i > UNTOLD_KEPT then
        local oldest = redis.call('ZRANGE', line, 0, 0)[1]
        redis.call('ZREM', line, oldest)
        redis.call('HDEL', root .. 'untold', oldest)
      end
    end
  end
end

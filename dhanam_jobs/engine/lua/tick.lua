-- tick: – → waiting | blocked
-- Advances schedules that are due and starts their runs, each schedule wholly or not at all. A caller whose knowledge is
-- old (another process ticked, or the schedule was changed) changes nothing, so that a fleet fires each tick once.
--
-- KEYS  1 root
-- ARGV  1 time, then for each schedule:
--         name, revision and next fire (ms) as the caller read them, the fire that follows (ms, '' for none), number of
--         instants, then for each instant: the instant (ms), and the id of its run
-- Returns one list for each schedule: {'gone' | 'stale' | 'paused' | 'early'} where nothing was changed, else {'ticked',
-- then for each instant 'waiting' | 'blocked' | 'existed' | 'joined' | 'skipped' (overlap) | 'over' (the limit was
-- reached)}.
-- include: root places events limits moves runs
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local verdicts, due = {}, {}
local i = 2
while i <= #ARGV do
  local name, count = ARGV[i], tonumber(ARGV[i + 4])
  local schedule = read_schedule(name)
  local verdict = {'ticked'}
  if not schedule then
    verdict = {'gone'}
  elseif schedule.revision ~= ARGV[i + 1] or schedule.next_ms ~= ARGV[i + 2] then
    verdict = {'stale'}
  elseif schedule.paused_ms then
    verdict = {'paused'}
  elseif tonumber(schedule.next_ms) > now then
    verdict = {'early'}
  else
    check_run(name, schedule)
    due[#due + 1] = {name, schedule, ARGV[i + 3], i + 5, count, verdict}
  end
  verdicts[#verdicts + 1] = verdict
  i = i + 5 + 2 * count
end

local waiting, blocked = {}, {}
for _, one in ipairs(due) do
  local name, schedule, following, first, count, verdict = unpack(one)
  -- The first write: one that a full Redis refuses, with nothing changed.
  redis.call('HSET', root .. 'schedule:' .. name, 'next_ms', following)
  local last_ms
  for j = first, first + 2 * count - 2, 2 do
    local what, id = 'over', nil
    if not schedule.limit or schedule.count < schedule.limit then
      places, id, what = start_run(places, name, schedule, ARGV[j + 1], ARGV[j], false)
      if what == 'skipped' then
        schedule.skipped = schedule.skipped + 1
      else
        schedule.count = schedule.count + 1
        schedule.last_id = id
        last_ms = ARGV[j]
      end
      if what == 'waiting' then waiting[#waiting + 1] = id end
      if what == 'blocked' then blocked[#blocked + 1] = id end
    end
    verdict[#verdict + 1] = what
  end
  if schedule.limit and schedule.count >= schedule.limit then following = '' end
  redis.call('HSET', root .. 'schedule:' .. name, 'next_ms', following, 'count', schedule.count, 'skipped',
    schedule.skipped)
  if last_ms then
    redis.call('HSET', root .. 'schedule:' .. name, 'last_ms', last_ms, 'last_id', schedule.last_id)
  end
  redis.call('ZADD', root .. 'schedules', following == '' and 'inf' or following, name)
end
tell_runs(waiting, blocked)
return verdicts

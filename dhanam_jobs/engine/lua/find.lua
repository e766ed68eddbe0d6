-- find: – (reads only)
-- A job by its id, in whatever state.
--
-- KEYS  1 root
-- ARGV  1 time  2 job id
-- Returns {} where there is none; {'ended', record, joined} for an ended one; else {state, detail, joined, place,
-- fields}, and for an active one whose cancellation is under way what is noted of that, JSON: detail is the worker (active), due ms (delayed), unique key (blocked), name (parked) or the entry (waiting);
-- place ends in the level; joined is a JSON list of owners, or ''.
-- include: root places events limits moves finding
local state, detail, place, fields = find(ARGV[2])
if not state then return {} end
local joined = redis.call('HGET', root .. 'joined', ARGV[2]) or ''
if state == 'ended' then return {state, detail, joined} end
return {state, detail, joined, place, fields,
  state == 'active' and redis.call('HGET', root .. 'cancelling', ARGV[2]) or nil}

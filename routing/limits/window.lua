-- Decides a whole batch of admissions in one step, for every process of the installation and by the server's clock.
--
-- ARGV[1]  the calling process
-- ARGV[2]  "1": the process says that it is alive (every few seconds); "0": it does not
-- ARGV[3]  JSON: [rows, admits]
--            row    [scope, held, [second, tokens, second, tokens, ...], requests, tokens, parallel, burst]
--                   held: slots the process occupies in the scope, as a total, so that a lost call repairs itself with
--                   the next one; then corrections of reserved tokens, with the second they were reserved in; then the
--                   limits, absent where nothing asks to be admitted to the scope
--            admit  [tokens, slots, row, row, ...]  with the index (from 1) of every scope it must fit in; slots is 0 for
--                   what runs in a slot that was taken before
-- ARGV[4]  milliseconds since the epoch instead of the server's clock; tests only, production never sends it
--
-- Returns integers: catalogue version, the server's second, 1 when the process was not known to be alive (it must then
-- send all its slots again), and for each admit: refusal (0 admitted, 1 requests, 2 tokens, 3 parallel, 4 burst), wait
-- in ms (-1: never), then limit, remaining and ms until full again, for requests and for tokens.
--
-- Keys, each with an expiry:
--   (`komilion:` stands for the prefix of the installation, which is put in when this file is read)
--   komilion:window:<scope>   hash: `at` (newest second known), `last` (second of the last admission), the sums
--                             `requests` and `tokens`, and the buckets r<slot>, t<slot> with slot = second mod 61
--   komilion:slots:<scope>    hash: process -> slots in use
--   komilion:alive:<process>  missing: the process is dead and its slots do not count

local WINDOW_S = 61 -- 60 whole seconds and the one that is running: never more than the limit in any 60 s
local WINDOW_LIFETIME_S = 70
local SLOTS_LIFETIME_S = 86400
local ALIVE_S = 10
local PARALLEL_WAIT_MS = 1000 -- nobody knows when a running call ends; a second is a fair guess
local NEVER = 1e12
local REQUESTS, TOKENS, PARALLEL, BURST = 1, 2, 3, 4

local process = ARGV[1]
local batch = cjson.decode(ARGV[3])
local now_ms
if ARGV[4] then
  now_ms = tonumber(ARGV[4])
else
  local time = redis.call('TIME')
  now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_s = math.floor(now_ms / 1000)

local function bucket(kind, second)
  return kind .. (second % WINDOW_S)
end

-- Fields of a scope's window are read when first needed, changed in memory, and written once at the end.
local function fetch(scope, names)
  local values = redis.call('HMGET', scope.key, unpack(names))
  for i, name in ipairs(names) do
    if scope.fields[name] == nil then
      scope.fields[name] = tonumber(values[i] or 0)
    end
  end
end

local function get(scope, name)
  if scope.fields[name] == nil then
    if scope.empty then
      return 0
    end
    fetch(scope, { name })
  end
  return scope.fields[name]
end

local function add(scope, name, amount)
  scope.fields[name] = get(scope, name) + amount
  scope.changed[name] = true
end

local function forget_expired(scope, from)
  local names = {}
  for second = from, now_s do
    names[#names + 1] = bucket('r', second)
    names[#names + 1] = bucket('t', second)
  end
  fetch(scope, names)
  for i, name in ipairs(names) do
    local old = scope.fields[name]
    if old ~= 0 then
      add(scope, i % 2 == 1 and 'requests' or 'tokens', -old)
      add(scope, name, -old)
    end
  end
end

local function open_window(scope)
  scope.fields, scope.changed = {}, {}
  fetch(scope, { 'at', 'last', 'requests', 'tokens', bucket('r', now_s), bucket('t', now_s) })
  local at = scope.fields.at
  scope.second = now_s
  if now_s - at >= WINDOW_S or at - now_s >= WINDOW_S then
    -- All of it is too old, or the clock was set back so far that the window would stand still.
    if at ~= 0 then
      redis.call('DEL', scope.key)
    end
    scope.fields, scope.empty = {}, true
  elseif at < now_s then
    forget_expired(scope, at + 1)
  else
    scope.second = at -- a clock that goes back a little does not reopen the past
  end
  add(scope, 'at', scope.second - get(scope, 'at'))
end

local function correct_tokens(scope, corrections)
  for i = 1, #corrections, 2 do
    local second = corrections[i]
    if second > scope.second - WINDOW_S and second <= scope.second then
      local name = bucket('t', second)
      local change = math.max(corrections[i + 1], -get(scope, name)) -- below 0 only if the server forgot the bucket
      add(scope, name, change)
      add(scope, 'tokens', change)
    end
  end
end

local alive = { [process] = true }
local function is_alive(name)
  if alive[name] == nil then
    alive[name] = redis.call('EXISTS', 'komilion:alive:' .. name) == 1
  end
  return alive[name]
end

local function count_slots_of_others(scope)
  local count, slots = 0, redis.call('HGETALL', scope.slots_key)
  for i = 1, #slots, 2 do
    if not is_alive(slots[i]) then
      redis.call('HDEL', scope.slots_key, slots[i])
    elseif slots[i] ~= process then
      count = count + tonumber(slots[i + 1])
    end
  end
  return count
end

local function ms_until_freed(scope, kind, need)
  local names = {}
  for second = scope.second - WINDOW_S + 1, scope.second do
    names[#names + 1] = bucket(kind, second)
  end
  if not scope.empty and not scope['has_' .. kind] then
    fetch(scope, names)
    scope['has_' .. kind] = true
  end
  for i, name in ipairs(names) do
    need = need - get(scope, name)
    if need <= 0 then
      return (scope.second + i) * 1000 - now_ms
    end
  end
  return (scope.second + WINDOW_S) * 1000 - now_ms
end

-- The reason that stands in the way longest, and how long; 0 when the scope has room.
local function refusal(scope, tokens, slots)
  local reason, wait = 0, 0
  local function refuse(why, ms)
    if ms > wait then
      reason, wait = why, ms
    end
  end
  local requests_over = get(scope, 'requests') + 1 - scope.requests
  if requests_over > 0 then
    refuse(REQUESTS, scope.requests < 1 and NEVER or ms_until_freed(scope, 'r', requests_over))
  end
  local tokens_over = get(scope, 'tokens') + tokens - scope.tokens
  if tokens_over > 0 then
    refuse(TOKENS, tokens > scope.tokens and NEVER or ms_until_freed(scope, 't', tokens_over))
  end
  if slots > 0 and scope.others + scope.held >= scope.parallel then
    refuse(PARALLEL, scope.parallel < 1 and NEVER or PARALLEL_WAIT_MS)
  end
  if get(scope, bucket('r', scope.second)) >= scope.burst then
    refuse(BURST, scope.burst < 1 and NEVER or (scope.second + 1) * 1000 - now_ms)
  end
  return reason, wait
end

local function take(scope, tokens, slots)
  add(scope, 'requests', 1)
  add(scope, bucket('r', scope.second), 1)
  add(scope, 'tokens', tokens)
  add(scope, bucket('t', scope.second), tokens)
  add(scope, 'last', scope.second - get(scope, 'last'))
  scope.held = scope.held + slots
end

-- Limit, remaining and ms until full again, of the scope with least left.
local function append_headroom(answer, scopes, name)
  local tightest, least
  for _, scope in ipairs(scopes) do
    local left = math.max(0, scope[name] - get(scope, name))
    if least == nil or left < least then
      tightest, least = scope, left
    end
  end
  local used = get(tightest, name) > 0
  answer[#answer + 1] = tightest[name]
  answer[#answer + 1] = least
  answer[#answer + 1] = used and (get(tightest, 'last') + WINDOW_S) * 1000 - now_ms or 0
end

local function admit(answer, tokens, slots, scopes)
  local reason, wait = 0, 0
  for _, scope in ipairs(scopes) do
    local why, ms = refusal(scope, tokens, slots)
    if ms > wait then
      reason, wait = why, ms
    end
  end
  if reason == 0 then
    for _, scope in ipairs(scopes) do
      take(scope, tokens, slots)
    end
  end
  answer[#answer + 1] = reason
  answer[#answer + 1] = wait == NEVER and -1 or wait
  append_headroom(answer, scopes, 'requests')
  append_headroom(answer, scopes, 'tokens')
end

local function store_window(scope)
  local set, gone = {}, {}
  for name in pairs(scope.changed) do
    if scope.fields[name] == 0 then
      gone[#gone + 1] = name
    else
      set[#set + 1] = name
      set[#set + 1] = scope.fields[name]
    end
  end
  redis.call('HSET', scope.key, unpack(set)) -- never empty: `at` is always among them
  redis.call('EXPIRE', scope.key, WINDOW_LIFETIME_S)
  if #gone > 0 then
    redis.call('HDEL', scope.key, unpack(gone))
  end
end

local function store_slots(scope)
  if scope.held > 0 then
    redis.call('HSET', scope.slots_key, process, scope.held)
    redis.call('EXPIRE', scope.slots_key, SLOTS_LIFETIME_S)
  else
    redis.call('HDEL', scope.slots_key, process)
  end
end

local unknown = 0
if ARGV[2] == '1' and not redis.call('SET', 'komilion:alive:' .. process, 1, 'EX', ALIVE_S, 'GET') then
  unknown = 1
end
local answer = { tonumber(redis.call('GET', 'komilion:catalog_version') or 0), now_s, unknown }

local all = {}
for i, row in ipairs(batch[1]) do
  local scope = { key = 'komilion:window:' .. row[1], slots_key = 'komilion:slots:' .. row[1], held = row[2] }
  scope.requests, scope.tokens, scope.parallel, scope.burst = row[4], row[5], row[6], row[7]
  if scope.requests or #row[3] > 0 then
    open_window(scope)
    correct_tokens(scope, row[3])
  end
  if scope.requests then
    scope.others = count_slots_of_others(scope)
  end
  all[i] = scope
end

for _, request in ipairs(batch[2]) do
  local scopes = {}
  for i = 3, #request do
    scopes[#scopes + 1] = all[request[i]]
  end
  admit(answer, request[1], request[2], scopes)
end

for _, scope in ipairs(all) do
  if scope.changed then
    store_window(scope)
  end
  store_slots(scope)
end
return answer

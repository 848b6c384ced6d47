-- Asks a Sluice node whether a request may pass. Only the key and the request id go along, so nothing that a client sends
-- chooses its tier or cost. HAProxy's own HTTP client is not used, as it waits three seconds and more for a node that is gone.
local node = os.getenv("SLUICE")
local closed = os.getenv("SLUICE_FAIL_CLOSED") == "1"
local forwarded = {"authorization", "x-api-key", "x-request-id"}
local unavailable = '{"success":false,"error":"service_unavailable","message":"The service is at capacity or under maintenance. Please try again in a minute."}'
local unreadable = '{"success":false,"error":"invalid_request","message":"The request is not well formed."}'

-- ask returns the status and the headers of the node's answer, or nil. The answer has no body.
local function ask(headers)
  local request = {"GET /v1/auth?deny_status=403 HTTP/1.1", "Host: " .. node, "Connection: close"}
  for _, name in ipairs(forwarded) do
    local value = headers[name] and headers[name][0]
    if headers[name] and headers[name][1] then value = value .. "," .. headers[name][1] end -- no key: the API might take the other
    if value then request[#request + 1] = name .. ": " .. value:gsub("[\r\n]", " ") end
  end
  local socket = core.tcp()
  socket:settimeout(1)
  local host, port = node:match("^(.*):(%d+)$")
  if not socket:connect(host, tonumber(port)) then return nil end
  local answer = {}
  local status
  if socket:send(table.concat(request, "\r\n") .. "\r\n\r\n") then
    local line = socket:receive("*l")
    status = line and tonumber(line:match("^HTTP/1%.1 (%d%d%d)"))
    line = status and socket:receive("*l")
    while line and line ~= "" and line ~= "\r" do
      local name, value = line:match("^([^:]+): *(.-)\r?$")
      if name then answer[name:lower()] = value end
      line = socket:receive("*l")
    end
  end
  socket:close()
  return status, answer
end

local function deny(txn, status, headers, body)
  local reply = txn:reply({status = status})
  for name, value in pairs(headers) do reply:add_header(name, value) end
  reply:add_header("content-type", "application/json")
  reply:add_header("cache-control", "no-store")
  reply:set_body(body .. "\n")
  txn:done(reply)
end

core.register_action("sluice", {"http-req"}, function(txn)
  local status, answer = ask(txn.http:req_get_headers())
  if status == 200 then
    for _, name in ipairs({"limit", "remaining", "reset"}) do
      local value = answer["x-ratelimit-" .. name]
      if value then txn:set_var("txn.sluice_" .. name, value) end
    end
  elseif status == 403 and answer["x-ratelimit-status"] then
    local headers = {}
    for _, name in ipairs({"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after", "x-request-id"}) do
      headers[name] = answer[name]
    end
    deny(txn, tonumber(answer["x-ratelimit-status"]), headers, answer["x-ratelimit-body"])
  elseif status == 400 or status == 431 then -- headers that are too long, say: were they let pass, whoever sends some had no limit
    deny(txn, 400, {}, unreadable)
  elseif closed then
    deny(txn, 503, {["retry-after"] = "30"}, unavailable)
  end
end, 0)

-- How healthy an object of Switchback is, for Argo CD: a Release, DatabaseInstance, BackupStorage or DatabaseBackup.
-- Argo CD runs it as Lua 5.1 without libraries. What it says of each situation: docs/gitops.md.

-- The switch: what a Release is called that waits as planned, for an approval, the end of a freeze, its place.
-- "Suspended" holds back the sync waves behind it until it serves; with "Healthy" they go on meanwhile.
local waiting = "Suspended"

-- What is waited for; everything else that Reconciling says is work under way.
local waits = {
  ApprovalPolicyMissing = true,
  ApprovalStale = true,
  AuthorIsAutomation = true,
  DataLossPending = true,
  Frozen = true,
  NotPromoted = true,
  WaitingForApproval = true,
  WaitingForSlot = true,
}

local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The controller has not looked at this generation yet." }
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local ready, moves, stalled = found.Ready or {}, found.Reconciling or {}, found.Stalled or {}

if stalled.status == "True" then
  return { status = "Degraded", message = stalled.message }
end
if moves.status == "True" then
  return { status = waits[moves.reason] and waiting or "Progressing", message = moves.message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
if ready.status == "False" then
  return { status = "Degraded", message = ready.message }
end
if ready.reason == "Suspended" then
  return { status = "Suspended", message = ready.message }
end
return { status = "Progressing", message = ready.message }

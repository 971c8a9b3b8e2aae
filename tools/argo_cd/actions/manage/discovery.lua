actions["manage"] = {
  ["displayName"] = "Manage",
  ["iconClass"] = "fa fa-fw fa-wrench",
  ["disabled"] = not observed
}

actions["reconcile"] = {
  ["displayName"] = "Reconcile Now",
  ["iconClass"] = "fa fa-fw fa-rotate",
  ["disabled"] = suspended
}

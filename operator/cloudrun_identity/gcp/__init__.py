"""Clients of Google Cloud APIs, over gRPC. No module here decides what should exist.

Every request goes through `clients.GoogleClients.call`, which applies the same rules to all of them: rate
limit, lease guard, timeout, retries, metrics, and the reason that Google's audit log shows.

One module per API:

projects
    Projects of the Resource Manager API.
service_accounts, keys, roles, custom_roles
    The IAM API: accounts, their keys, permissions of roles, custom roles.
run, workloads, workload_dependencies
    The Cloud Run API, workloads as values, and the resources that a workload references.
org_policies
    The organization policy for accounts that other projects use.
policies, permissions
    IAM policies of every target kind, and the permissions that the operator needs.
permission_checks
    Access of a principal to a resource, as far as the operator can see.
unique_ids
    Unique ids of targets and accounts.

What they share:

clients, service_client, libraries, channels
    Send requests: with the rules, per project, over one channel per host.
client_pool, credentials, impersonation, token_file
    Credentials of each project, and the access tokens for them.
ratelimit
    Token buckets that keep the operator below Google's quotas.
single_flight_cache, collection, inventory
    Cached reads that concurrent callers share.
requests
    Properties of a request, and the object that it is sent for.
errors, error_classification
    Failed calls, by what the caller can do about them.
unknown_outcomes
    Look up whether a write without an answer took effect.
locations
    Regions that have no host.
mutations
    Log every change of Google Cloud.
"""

"""Groups of permissions that escalate through keys, secrets and tokens."""

from typing import Final

from .groups import DOCS, RHINO, TAGS, Escalation, all_of, hacktricks

KEY_MATERIAL: Final[tuple[Escalation, ...]] = (
    Escalation(
        "api-keys",
        (
            *all_of("apikeys", "keys", verbs=("create", "getKeyString", "undelete", "update")),
            "serviceusage.apiKeys.*",
        ),
        "can read or create API keys, which outlive the grant",
        (RHINO, hacktricks("serviceusage"), hacktricks("apikeys")),
    ),
    Escalation(
        "oauth-clients",
        (
            *all_of("clientauthconfig", "clients"),
            "clientauthconfig.clients.createSecret",
            "clientauthconfig.clients.getWithSecret",
            "clientauthconfig.clients.listWithSecrets",
            "clientauthconfig.clients.undelete",
        ),
        "can read or create secrets of OAuth clients, with which users sign in",
        (hacktricks("clientauthconfig"),),
    ),
    Escalation(
        "credentials",
        (
            *all_of("storage", "hmacKeys"),
            "iam.serviceAccountApiKeyBindings.create",
            "iam.serviceAccountApiKeyBindings.undelete",
            "compute.backendBuckets.addSignedUrlKey",
            "compute.backendServices.addSignedUrlKey",
            *all_of("cloudsql", "users"),
            "cloudsql.sslCerts.create",
            *all_of("alloydb", "users"),
            "redis.instances.getAuthString",
            "managedidentities.domains.resetpassword",
            "datafusion.secureKeys.getSecret",
            "firebaseauth.configs.getSecret",
            "firebaseauth.users.createSession",
            "edgecontainer.serviceaccounts.generatekey",
            "baremetalsolution.sshKeys.create",
            *(
                f"vmwareengine.privateClouds.{verb}{kind}Credentials"
                for verb in ("show", "reset")
                for kind in ("Nsx", "Vcenter")
            ),
        ),
        "can obtain credentials that outlive the grant",
        (RHINO, hacktricks("storage"), TAGS),
    ),
    Escalation(
        "foreign-tokens",
        (
            "agentidentity.authProviders.retrieveCredentials",
            "backupdr.bvdataSources.fetchAccessToken",
            "cloudbuild.repositories.accessReadToken",
            "cloudbuild.repositories.accessReadWriteToken",
            "dataprocrm.nodes.mintOAuthToken",
            "developerconnect.*.fetchReadToken",
            "developerconnect.*.fetchReadWriteToken",
            "developerconnect.*.gitProxy*",
            "developerconnect.*.httpProxy*",
            "developerconnect.users.fetchAccessToken",
            "iamconnectors.connectors.retrieveCredentials",
        ),
        "can obtain tokens of connected services and repositories",
        (hacktricks("cloudbuild"), f"{DOCS}iam/docs/roles-permissions/developerconnect"),
    ),
    Escalation(
        "connections",
        (
            "bigquery.connections.delegate",
            "bigquery.connections.use",
            "bigquery.transfers.update",
            *all_of("connectors", "connections"),
            "connectors.actions.execute",
            "connectors.connections.executeSqlQuery",
        ),
        "can reach other systems with the credentials of a connection",
        (hacktricks("bigquery"), TAGS),
    ),
)

// Calls a running emulator with Google's Node.js libraries and prints what they return as one JSON object.
//
// Arguments: the addresses of gRPC and of REST. IAM v1 has no Node.js library.

import {ProjectsClient} from '@google-cloud/resource-manager';
import {JobsClient, ServicesClient} from '@google-cloud/run';
import {SecretManagerServiceClient} from '@google-cloud/secret-manager';
import {Storage} from '@google-cloud/storage';
import {GoogleAuth, OAuth2Client} from 'google-auth-library';
import gax from 'google-gax';

const [grpcAddress, restUrl] = process.argv.slice(2);
const project = 'projects/shop';
const location = `${project}/locations/europe-west1`;
const email = 'checkout@shop.iam.gserviceaccount.com';
const image = 'us-docker.pkg.dev/cloudrun/container/hello';
const result = {};

function options(transport) {
  const address = transport === 'rest' ? new URL(restUrl).host : grpcAddress;
  const [apiEndpoint, port] = address.split(':');
  const common = {apiEndpoint, port: Number(port), projectId: 'shop'};
  if (transport === 'grpc') {
    return {...common, sslCreds: gax.grpc.credentials.createInsecure()};
  }
  return {...common, fallback: true, protocol: 'http', auth: new GoogleAuth({authClient: signedIn()})};
}

function signedIn() {
  const client = new OAuth2Client();
  client.setCredentials({access_token: 'admin', expiry_date: Date.now() + 3600_000});
  return client;
}

async function problem(call) {
  try {
    await call;
    return 'none';
  } catch (error) {
    return `${error.code} ${error.reason ?? ''}`;
  }
}

async function services(transport) {
  const client = new ServicesClient(options(transport));
  const serviceId = `web-${transport}`;
  const template = {serviceAccount: email, containers: [{image}]};
  const [creating] = await client.createService({parent: location, serviceId, service: {template}});
  const [created] = await creating.promise();
  created.template.serviceAccount = 'none@shop.iam.gserviceaccount.com';
  const denied = await problem(client.updateService({service: created}));
  const [read] = await client.getService({name: created.name});
  const bindings = [{role: 'roles/run.invoker', members: ['user:ann@example.com']}];
  const [policy] = await client.setIamPolicy({resource: created.name, policy: {bindings}});
  const missing = await problem(client.getService({name: `${location}/services/none`}));
  result[`service over ${transport}`] = [
    read.template.serviceAccount, read.terminalCondition.state, policy.bindings[0].members, denied, missing,
  ];
}

async function jobs(transport) {
  const client = new JobsClient(options(transport));
  const template = {template: {serviceAccount: email, containers: [{image}]}};
  const jobId = `nightly-${transport}`;
  const [creating] = await client.createJob({parent: location, jobId, job: {template}});
  const [created] = await creating.promise();
  const [listed] = await client.listJobs({parent: location});
  result[`job over ${transport}`] = [
    created.template.template.serviceAccount, listed.some(job => job.name === created.name),
  ];
}

async function projects(transport) {
  const client = new ProjectsClient(options(transport));
  const [read] = await client.getProject({name: project});
  const bindings = [{role: 'roles/run.viewer', members: ['user:ann@example.com']}];
  const [policy] = await client.setIamPolicy({resource: project, policy: {bindings}});
  const none = [{role: 'roles/run.viewer', members: ['serviceAccount:none@shop.iam.gserviceaccount.com']}];
  const refused = await problem(client.setIamPolicy({resource: project, policy: {bindings: none}}));
  const stale = await problem(
    client.setIamPolicy({resource: project, policy: {bindings, etag: Buffer.from('stale')}})
  );
  result[`project over ${transport}`] = [read.name, read.projectId, policy.version, refused, stale];
}

async function secrets(transport) {
  const client = new SecretManagerServiceClient(options(transport));
  const name = `${project}/secrets/stripe-key`;
  const [read] = await client.getSecret({name});
  const [policy] = await client.getIamPolicy({resource: name});
  policy.bindings = [{role: 'roles/secretmanager.secretAccessor', members: ['user:ann@example.com']}];
  const [written] = await client.setIamPolicy({resource: name, policy});
  const missing = await problem(client.getSecret({name: `${project}/secrets/none`}));
  result[`secret over ${transport}`] = [read.name, written.bindings[0].members, missing];
}

async function buckets() {
  const storage = new Storage({apiEndpoint: restUrl, projectId: 'shop'});
  const bucket = storage.bucket('shop-receipts');
  const [policy] = await bucket.iam.getPolicy({requestedPolicyVersion: 3});
  policy.bindings = [{role: 'roles/storage.objectViewer', members: ['user:ann@example.com']}];
  await bucket.iam.setPolicy(policy);
  const [written] = await bucket.iam.getPolicy({requestedPolicyVersion: 3});
  const [metadata] = await bucket.getMetadata();
  result.bucket = [
    written.resourceId, written.bindings[0].members,
    metadata.iamConfiguration.uniformBucketLevelAccess.enabled,
    await problem(storage.bucket('none').getMetadata()),
  ];
}

for (const transport of ['grpc', 'rest']) {
  await services(transport);
  await jobs(transport);
  await projects(transport);
  await secrets(transport);
}
await buckets();
console.log(JSON.stringify(result));
process.exit();

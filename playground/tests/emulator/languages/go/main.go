// Program clients calls a running emulator with Google's Go libraries and prints what they return.
//
// Its arguments are the addresses of gRPC and of REST. It prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"

	admin "cloud.google.com/go/iam/admin/apiv1"
	"cloud.google.com/go/iam/admin/apiv1/adminpb"
	"cloud.google.com/go/iam/apiv1/iampb"
	resourcemanager "cloud.google.com/go/resourcemanager/apiv3"
	"cloud.google.com/go/resourcemanager/apiv3/resourcemanagerpb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

const (
	project  = "projects/shop"
	location = project + "/locations/europe-west1"
	email    = "checkout@shop.iam.gserviceaccount.com"
	account  = project + "/serviceAccounts/shopper@shop.iam.gserviceaccount.com"
)

var (
	ctx    = context.Background()
	result = map[string]any{}
)

func main() {
	overGRPC := []option.ClientOption{
		option.WithEndpoint(os.Args[1]),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	overREST := []option.ClientOption{option.WithEndpoint(os.Args[2]), option.WithoutAuthentication()}
	accounts(overGRPC)
	workloads("grpc", must(run.NewServicesClient(ctx, overGRPC...)))
	workloads("rest", must(run.NewServicesRESTClient(ctx, overREST...)))
	projects("grpc", must(resourcemanager.NewProjectsClient(ctx, overGRPC...)))
	projects("rest", must(resourcemanager.NewProjectsRESTClient(ctx, overREST...)))
	secrets("grpc", must(secretmanager.NewClient(ctx, overGRPC...)))
	secrets("rest", must(secretmanager.NewRESTClient(ctx, overREST...)))
	buckets(must(storage.NewClient(ctx,
		option.WithEndpoint(os.Args[2]+"/storage/v1/"), option.WithoutAuthentication())))
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// accounts creates a service account and a custom role, and reads errors with their details.
func accounts(options []option.ClientOption) {
	client := must(admin.NewIamClient(ctx, options...))
	_, missing := client.GetServiceAccount(ctx, &adminpb.GetServiceAccountRequest{Name: account})
	result["missing account"] = problem(missing)
	created := must(client.CreateServiceAccount(ctx, &adminpb.CreateServiceAccountRequest{
		Name: project, AccountId: "shopper",
		ServiceAccount: &adminpb.ServiceAccount{DisplayName: "Shopper"},
	}))
	result["account"] = []string{created.Email, created.DisplayName}
	_, again := client.CreateServiceAccount(ctx, &adminpb.CreateServiceAccountRequest{
		Name: project, AccountId: "shopper",
	})
	result["account again"] = problem(again)
	key := must(client.CreateServiceAccountKey(ctx, &adminpb.CreateServiceAccountKeyRequest{Name: account}))
	keys := must(client.ListServiceAccountKeys(ctx, &adminpb.ListServiceAccountKeysRequest{
		Name:     account,
		KeyTypes: []adminpb.ListServiceAccountKeysRequest_KeyType{adminpb.ListServiceAccountKeysRequest_USER_MANAGED},
	}))
	result["keys"] = []any{len(keys.Keys), keys.Keys[0].Name == key.Name, len(key.PrivateKeyData) > 0}
	role := must(client.CreateRole(ctx, &adminpb.CreateRoleRequest{
		Parent: project, RoleId: "deployer",
		Role: &adminpb.Role{Title: "Deployer", IncludedPermissions: []string{"run.services.update"}},
	}))
	role.Title = "Deploys"
	updated := must(client.UpdateRole(ctx, &adminpb.UpdateRoleRequest{
		Name: role.Name, Role: role, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}},
	}))
	result["role"] = []any{updated.Name, updated.Title, updated.IncludedPermissions}
	listed := 0
	for all := client.ListServiceAccounts(ctx, &adminpb.ListServiceAccountsRequest{Name: project}); ; listed++ {
		if _, err := all.Next(); errors.Is(err, iterator.Done) {
			break
		} else if err != nil {
			log.Fatal(err)
		}
	}
	result["accounts"] = listed
	policy := must(client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: account}))
	policy.Add("user:ann@example.com", "roles/iam.serviceAccountUser")
	written := must(client.SetIamPolicy(ctx, &admin.SetIamPolicyRequest{Resource: account, Policy: policy}))
	result["account policy"] = written.Members("roles/iam.serviceAccountUser")
	_, stale := client.SetIamPolicy(ctx, &admin.SetIamPolicyRequest{Resource: account, Policy: policy})
	result["stale account policy"] = problem(stale)
}

// workloads deploys a service, waits for the operation, and sets its policy.
func workloads(transport string, client *run.ServicesClient) {
	template := &runpb.RevisionTemplate{
		ServiceAccount: email, Containers: []*runpb.Container{{Image: "us-docker.pkg.dev/cloudrun/container/hello"}},
	}
	creating := must(client.CreateService(ctx, &runpb.CreateServiceRequest{
		Parent: location, ServiceId: "web-" + transport, Service: &runpb.Service{Template: template},
	}))
	created := must(creating.Wait(ctx))
	created.Template.ServiceAccount = "none@shop.iam.gserviceaccount.com"
	_, denied := client.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: created})
	read := must(client.GetService(ctx, &runpb.GetServiceRequest{Name: created.Name}))
	policy := must(client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{
		Resource: created.Name,
		Policy: &iampb.Policy{Bindings: []*iampb.Binding{
			{Role: "roles/run.invoker", Members: []string{"user:ann@example.com"}},
		}},
	}))
	_, missing := client.GetService(ctx, &runpb.GetServiceRequest{Name: location + "/services/none"})
	result["service over "+transport] = []any{
		read.Template.ServiceAccount, read.TerminalCondition.State.String(), read.ObservedGeneration,
		policy.Bindings[0].Members, problem(denied), problem(missing),
	}
}

func projects(transport string, client *resourcemanager.ProjectsClient) {
	read := must(client.GetProject(ctx, &resourcemanagerpb.GetProjectRequest{Name: project}))
	policy := must(client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{
		Resource: project,
		Policy: &iampb.Policy{Bindings: []*iampb.Binding{
			{Role: "roles/run.viewer", Members: []string{"user:ann@example.com"}},
		}},
	}))
	_, refused := client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{
		Resource: project,
		Policy: &iampb.Policy{Bindings: []*iampb.Binding{
			{Role: "roles/run.viewer", Members: []string{"serviceAccount:none@shop.iam.gserviceaccount.com"}},
		}},
	})
	tested := must(client.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{
		Resource: project, Permissions: []string{"run.services.get"},
	}))
	result["project over "+transport] = []any{
		read.Name, read.ProjectId, read.State.String(), policy.Version, policy.Bindings[0].Role,
		problem(refused), tested.Permissions,
	}
}

func secrets(transport string, client *secretmanager.Client) {
	name := project + "/secrets/stripe-key"
	read := must(client.GetSecret(ctx, &secretmanagerpb.GetSecretRequest{Name: name}))
	policy := must(client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: name}))
	member := "user:" + transport + "@example.com"
	policy.Bindings = append(policy.Bindings, &iampb.Binding{
		Role: "roles/secretmanager.secretAccessor", Members: []string{member},
	})
	written := must(client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: name, Policy: policy}))
	_, missing := client.GetSecret(ctx, &secretmanagerpb.GetSecretRequest{Name: project + "/secrets/none"})
	_, unserved := client.CreateSecret(ctx, &secretmanagerpb.CreateSecretRequest{
		Parent: project, SecretId: "newer", Secret: &secretmanagerpb.Secret{},
	})
	result["secret over "+transport] = []any{
		read.Name, slices.Contains(written.Bindings[0].Members, member), problem(missing), problem(unserved),
	}
}

func buckets(client *storage.Client) {
	bucket := client.Bucket("shop-receipts")
	read := must(bucket.Attrs(ctx))
	handle := bucket.IAM().V3()
	policy := must(handle.Policy(ctx))
	policy.Bindings = append(policy.Bindings, &iampb.Binding{
		Role: "roles/storage.objectViewer", Members: []string{"user:ann@example.com"},
	})
	if err := handle.SetPolicy(ctx, policy); err != nil {
		log.Fatal(err)
	}
	_, missing := client.Bucket("none").Attrs(ctx)
	result["bucket"] = []any{
		read.Name, read.ProjectNumber, read.UniformBucketLevelAccess.Enabled,
		must(handle.Policy(ctx)).Bindings[0].Members, errors.Is(missing, storage.ErrBucketNotExist),
	}
}

// problem returns the code of an error, and its reason if it has one.
func problem(err error) string {
	var found *apierror.APIError
	if !errors.As(err, &found) {
		return fmt.Sprint(err)
	}
	code := fmt.Sprint(found.GRPCStatus().Code())
	if found.HTTPCode() > 0 {
		code = fmt.Sprint(found.HTTPCode())
	}
	return code + " " + found.Reason()
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

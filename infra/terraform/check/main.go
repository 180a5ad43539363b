// A Terraform provider that knows a schema and nothing else: it serves the JSON file that MDFP_SCHEMA_<NAME> points to, where
// NAME is what follows "terraform-provider-" in its own file name. `terraform validate` needs no more, and neither do tests
// with mocked providers. No call reaches any cloud.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type attribute struct {
	Type     json.RawMessage `json:"type"`
	Required bool            `json:"required"`
	Computed bool            `json:"computed"`
	Output   bool            `json:"output"`
}

type nested struct {
	Nesting  string `json:"nesting"`
	Required bool   `json:"required"`
	Block    block  `json:"block"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]nested    `json:"blocks"`
}

func (b block) schema() (*tfprotov5.SchemaBlock, error) {
	result := &tfprotov5.SchemaBlock{}
	for name, a := range b.Attributes {
		kind, err := tftypes.ParseJSONType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		result.Attributes = append(result.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: kind, Required: a.Required, Optional: !a.Required && !a.Output, Computed: a.Computed,
		})
	}
	for name, n := range b.Blocks {
		inner, err := n.Block.schema()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		item := &tfprotov5.SchemaNestedBlock{TypeName: name, Block: inner, Nesting: tfprotov5.SchemaNestedBlockNestingModeList}
		if n.Nesting == "single" {
			item.Nesting = tfprotov5.SchemaNestedBlockNestingModeSingle
		} else if n.Required {
			item.MinItems = 1
		}
		result.BlockTypes = append(result.BlockTypes, item)
	}
	return result, nil
}

// provider answers what validation asks; whatever else Terraform could ask is not implemented by the embedded nil interface
// and must not be reached.
type provider struct {
	tfprotov5.ProviderServer
	resources map[string]*tfprotov5.Schema
}

func (p provider) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	result := &tfprotov5.GetMetadataResponse{}
	for name := range p.resources {
		result.Resources = append(result.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	return result, nil
}

func (p provider) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	text := func(name string) *tfprotov5.SchemaAttribute {
		return &tfprotov5.SchemaAttribute{Name: name, Type: tftypes.String, Optional: true}
	}
	configuration := &tfprotov5.SchemaBlock{Attributes: []*tfprotov5.SchemaAttribute{text("project"), text("region"), text("zone")}}
	return &tfprotov5.GetProviderSchemaResponse{
		Provider:          &tfprotov5.Schema{Block: configuration},
		ResourceSchemas:   p.resources,
		DataSourceSchemas: map[string]*tfprotov5.Schema{},
	}, nil
}

func (p provider) PrepareProviderConfig(_ context.Context, request *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (p provider) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (p provider) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func main() {
	name := strings.TrimPrefix(filepath.Base(os.Args[0]), "terraform-provider-")
	variable := "MDFP_SCHEMA_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	text, err := os.ReadFile(os.Getenv(variable))
	if err != nil {
		log.Fatalf("%s: %v", variable, err)
	}
	var blocks map[string]block
	if err := json.Unmarshal(text, &blocks); err != nil {
		log.Fatalf("%s: %v", os.Getenv(variable), err)
	}
	served := provider{resources: map[string]*tfprotov5.Schema{}}
	for resource, b := range blocks {
		inner, err := b.schema()
		if err != nil {
			log.Fatalf("%s: %v", resource, err)
		}
		served.resources[resource] = &tfprotov5.Schema{Block: inner}
	}
	address := "registry.terraform.io/hashicorp/" + name
	if err := tf5server.Serve(address, func() tfprotov5.ProviderServer { return served }); err != nil {
		log.Fatal(err)
	}
}

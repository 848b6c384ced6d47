package trace

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where spans go. Log is required.
type Config struct {
	// Endpoint is the collector: host:port in plain text, or a URL with http or https. "": that of
	// the environment, OTEL_EXPORTER_OTLP_ENDPOINT and those beside it.
	Endpoint string
	Node     string // the name of this node; may be empty
	Version  string // of the program; may be empty
	Log      *slog.Logger
}

// Wanted tells whether the standard environment variables ask for traces, by the name of a
// collector that speaks OTLP over gRPC.
func Wanted() bool {
	first := func(names ...string) string {
		for _, name := range names {
			if v := os.Getenv(name); v != "" {
				return v
			}
		}
		return ""
	}
	protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	exporter := os.Getenv("OTEL_TRACES_EXPORTER")
	return first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "" &&
		(protocol == "" || protocol == "grpc") && (exporter == "" || exporter == "otlp") &&
		!strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true")
}

// A Tracer makes spans and sends them. It implements rpc.Tracer, and Cluster returns what
// implements cluster.Tracer.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	exporter *exporter
}

// New returns a Tracer. It connects in the background, whether there is a collector or not.
func New(c Config) (*Tracer, error) {
	var options []otlptracegrpc.Option
	if c.Endpoint != "" {
		at, err := endpoint(c.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("traces: %w", err)
		}
		options = append(options, otlptracegrpc.WithEndpointURL(at))
	}
	to, err := otlptracegrpc.New(context.Background(), options...)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// What the environment says of the resource counts more.
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(c.attributes()...), resource.WithFromEnv())
	if err != nil {
		c.Log.Warn("not all that the environment says of the traces' resource was understood", "error", err)
	}
	e := newExporter(to, c.Log)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())),
		sdktrace.WithBatcher(e),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/overten/sluice"), exporter: e}, nil
}

// endpoint returns an endpoint as a URL.
func endpoint(s string) (string, error) {
	at := s
	if !strings.Contains(at, "://") {
		at = "http://" + at
	}
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("%q is neither host:port nor http(s)://host:port", s)
	}
	return at, nil
}

// attributes say who the node is.
func (c *Config) attributes() []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.String("service.name", "sluice")}
	if c.Node != "" {
		all = append(all, attribute.String("service.instance.id", c.Node))
	}
	if c.Version != "" {
		all = append(all, attribute.String("service.version", c.Version))
	}
	return all
}

// patience is how long Shutdown waits for the collector at most.
const patience = 2 * time.Second

// Shutdown sends what was not sent yet, if that is possible soon, and ends the Tracer.
func (t *Tracer) Shutdown(ctx context.Context) {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if t.provider.Shutdown(soon) != nil {
		// The last batch is given up; then its goroutine ends.
		t.exporter.stop()
	}
}

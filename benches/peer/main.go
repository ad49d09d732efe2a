// Peer plans a snapshot with Karpenter's own provisioning scheduler, so that its plans can be measured beside others.
//
//	snapshot, catalogue ─▶ NodePools, instance types, pods ─▶ scheduling.NewScheduler(…).Solve ─▶ JSON
//
// The scheduler is the library's, unchanged; around it stands what its own benchmark has: a fake client in place of an
// API server, and no cloud. A NodeClaim leaves the choice of machine to the cloud; here it becomes the cheapest
// available offering among its instance types that its requirements admit, which is the lowest price that a launch
// could get.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/karpenter/pkg/controllers/provisioning/scheduling"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	"sigs.k8s.io/karpenter/pkg/events"
	"sigs.k8s.io/karpenter/pkg/operator/injection"
	"sigs.k8s.io/karpenter/pkg/operator/logging"
	"sigs.k8s.io/karpenter/pkg/operator/options"
)

const usage = `Plans a snapshot's pending pods with Karpenter's scheduler, and prints the plan as JSON.

  peer [flags] SNAPSHOT CATALOG

Both files are JSON, gzipped or not.
`

func main() {
	concurrency := flag.Int("concurrency", 5, "candidates tried at the same time; 5 in Karpenter's own benchmark")
	timeout := flag.Duration("timeout", 0, "longest time for the solve; 0 is no limit, Karpenter's controller has 1m")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *concurrency, *timeout); err != nil {
		fmt.Fprintf(os.Stderr, "error: %s\n", err)
		os.Exit(2)
	}
}

func run(snapshotPath, catalogPath string, concurrency int, timeout time.Duration) error {
	log.SetLogger(logging.NopLogger)
	klog.SetLogger(logging.NopLogger)
	world, err := readSnapshot(snapshotPath)
	if err != nil {
		return err
	}
	types, err := readCatalog(catalogPath)
	if err != nil {
		return err
	}
	ctx := options.ToContext(injection.WithControllerName(context.Background(), "provisioner"), &options.Options{
		PreferencePolicy:  options.PreferencePolicyRespect,
		MinValuesPolicy:   options.MinValuesPolicyStrict,
		IgnoreDRARequests: true,
		CPURequests:       int64(concurrency) * 1000,
		FeatureGates:      options.FeatureGates{ReservedCapacity: true},
	})

	// What reading left behind is not the scheduler's memory.
	debug.FreeOSMemory()
	fromHere := resetPeak()
	startBytes := peakBytes()

	started := time.Now()
	scheduler, refused, err := setUp(ctx, world, types, concurrency)
	if err != nil {
		return err
	}
	ready := time.Now()
	solveCtx := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		solveCtx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	results, err := scheduler.Solve(solveCtx, world.pending)
	if err != nil && solveCtx.Err() == nil {
		return fmt.Errorf("solving: %w", err)
	}
	solved := time.Now()

	answer := describe(ctx, results, refused)
	answer.TimedOut = solveCtx.Err() != nil
	answer.SetUpSeconds = ready.Sub(started).Seconds()
	answer.SolveSeconds = solved.Sub(ready).Seconds()
	answer.StartBytes = startBytes
	answer.PeakBytes = peakBytes()
	answer.PeakFromSolve = fromHere
	answer.Planner = "karpenter " + version()
	answer.Go = runtime.Version()
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(answer)
}

// setUp does what Karpenter's provisioner does between listing pods and solving.
func setUp(ctx context.Context, w *world, types []*instanceType, concurrency int) (*scheduling.Scheduler, map[string]string, error) {
	kubeClient := w.client()
	cloud := newCloud(types)
	wall := clock.RealClock{}
	cluster := state.NewCluster(wall, kubeClient, cloud)
	if err := w.fill(ctx, cluster); err != nil {
		return nil, nil, err
	}
	// Limits are what is left of them once existing nodes are counted; the scheduler does that from its state nodes.
	stateNodes := cluster.DeepCopyNodes().Active()
	opts := []scheduling.Options{
		scheduling.DisableReservedCapacityFallback,
		scheduling.NumConcurrentReconciles(concurrency),
		scheduling.MinValuesPolicy(options.MinValuesPolicyStrict),
	}
	volumes, refused := w.volumeRequirements(ctx, kubeClient)
	byPool := cloud.byPool(w.nodePools)
	topology, err := scheduling.NewTopology(ctx, kubeClient, cluster, stateNodes, w.nodePools, byPool, w.pending, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("counting topologies: %w", err)
	}
	recorder := events.NewRecorder(&record.FakeRecorder{})
	return scheduling.NewScheduler(ctx, kubeClient, w.nodePools, cluster, stateNodes, topology, byPool, w.daemonPods(),
		recorder, wall, volumes, nil, opts...), refused, nil
}

// version is that of the library which this program was built with.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	for _, module := range info.Deps {
		if module.Path == "sigs.k8s.io/karpenter" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "of unknown version"
}

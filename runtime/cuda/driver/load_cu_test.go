//go:build cu

package driver_test

import (
	"errors"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/cu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// With the build tag cu the tests of this package are those of the implementation on gorgonia.org/cu: on a stand-in where the program is
// linked with that (TestTheTagBuildsAndPasses in package cu does so), on the GPU where it is not.

func standIn(t *testing.T) *drivertest.Library { return drivertest.Linked(t) }

func standIns(t *testing.T) map[string]*drivertest.Library {
	return map[string]*drivertest.Library{"with sizes": drivertest.Linked(t)}
}

func load(t *testing.T, _ *drivertest.Library) driver.Driver {
	t.Helper()
	d, err := cu.Choose(driver.Found{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func choose(f driver.Found) (driver.Driver, error) {
	if drivertest.IsLinked() {
		return nil, errors.New("this program is linked with a stand-in for it")
	}
	return cu.Choose(f)
}

const startsWithoutDevice = false

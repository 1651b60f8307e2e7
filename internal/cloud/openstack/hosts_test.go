package openstack

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
)

// Endpoints lists those of every client of a service. The loopback restriction cannot refuse an endpoint that it does not know.
func TestEndpointsAreThoseOfEveryClient(t *testing.T) {
	c := Cloud{}
	v := reflect.ValueOf(&c).Elem()
	clients := 0
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if f.Type() != reflect.TypeFor[*gophercloud.ServiceClient]() {
			continue
		}
		clients++
		at := reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem()
		at.Set(reflect.ValueOf(&gophercloud.ServiceClient{Endpoint: name, ResourceBase: name + "/v2/"}))
	}
	if got := c.Endpoints(); clients < 5 || len(got) != 2*clients {
		t.Errorf("%d clients, and the endpoints %v", clients, got)
	}
}

// Once the catalog is known, a request to another host is not sent.
func TestTokenGoesNowhereElse(t *testing.T) {
	asked := map[string]int{}
	serve := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked[name]++; _, _ = io.WriteString(w, "{}") }))
		t.Cleanup(s.Close)
		return s
	}
	ours, elsewhere := serve("ours"), serve("elsewhere")
	var to hosts
	client, err := (Config{}).withDefaults().client(&to)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	to.only(ours.URL + "/v2.0/")
	for url, want := range map[string]error{ours.URL + "/v2.0/ports": nil, elsewhere.URL + "/v2.0/ports": errElsewhere} {
		res, err := client.Get(url)
		if err == nil {
			_ = res.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", url, err, want)
		}
	}
	if asked["ours"] != 1 || asked["elsewhere"] != 0 {
		t.Errorf("asked %v", asked)
	}
}

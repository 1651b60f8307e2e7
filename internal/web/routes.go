package web

import "net/http"

// routes is every page there is. All are for reading: GET and HEAD.
var routes = []struct {
	path string
	page func(*site, http.ResponseWriter, *http.Request) error
}{
	{"/{$}", (*site).line},
	{"/case/{id}", (*site).caseFile},
	{"/mail/{id}", (*site).mail},
	{"/policy", (*site).policy},
	{"/probing", (*site).probing},
	{"/guidance/{$}", (*site).guidance},
	{"/guidance/index.html", (*site).guidance},
	{"/guidance/{kind}/{page}", (*site).guidePage},
	{"/style.css", (*site).style},
	{"/.well-known/probing.txt", (*site).probingText},
}

// SPDX-License-Identifier: Apache-2.0
/* parse_test.c - manifests: what is read, what is refused, and what is said. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/arena.h"
#include "policy/policy.h"
#include "policy/syntax.h"
#include "test/lib/world.h"
#include "test/test.h"

#define NETPOL(spec)                                                       \
	"{'apiVersion': 'networking.k8s.io/v1', 'kind': 'NetworkPolicy', " \
	"'metadata': {'name': 'p', 'namespace': 'shop'}, 'spec': " spec "}"
#define POD(rest) \
	"{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'p'}" rest "}"
#define META(meta) "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': " meta "}"

/* clang-format off */
static const struct {
	const char *name, *text, *says;
} malformed[] = {
	{"a list",
	 "[]",
	 "not a mapping"},
	{"a string",
	 "'Pod'",
	 "not a mapping"},
	{"no kind",
	 "{'apiVersion': 'v1'}",
	 "'kind' is missing"},
	{"kind is a number",
	 "{'apiVersion': 'v1', 'kind': 3}",
	 "'kind' is not a string"},
	{"no apiVersion",
	 "{'kind': 'Pod'}",
	 "'apiVersion' is missing"},
	{"Pod v2",
	 "{'apiVersion': 'v2', 'kind': 'Pod'}",
	 "apiVersion 'v2' is not known"},
	{"NetworkPolicy v2",
	 "{'apiVersion': 'networking.k8s.io/v2', 'kind': 'NetworkPolicy'}",
	 "is not known"},
	{"NetworkPolicy of old",
	 "{'apiVersion': 'extensions/v1beta1', 'kind': 'NetworkPolicy'}",
	 "is not known"},
	{"List",
	 "{'apiVersion': 'v1', 'kind': 'List', 'items': []}",
	 "one by one"},
	{"PodList",
	 "{'apiVersion': 'v1', 'kind': 'PodList'}",
	 "one by one"},
	{"NetworkPolicyList",
	 "{'apiVersion': 'networking.k8s.io/v1', 'kind': "
	 "'NetworkPolicyList'}",
	 "one by one"},
	{"no metadata",
	 "{'apiVersion': 'v1', 'kind': 'Pod'}",
	 "metadata: 'name' is missing"},
	{"metadata is a list",
	 META("[]"),
	 "'metadata' is not a mapping"},
	{"empty name",
	 META("{'name': ''}"),
	 "'name' is missing"},
	{"a path for a name",
	 META("{'name': '../etc'}"),
	 "'../etc' is not a name"},
	{"a name with capitals",
	 META("{'name': 'Web'}"),
	 "is not a name"},
	{"a path for a namespace",
	 META("{'name': 'p', 'namespace': 'a/b'}"),
	 "'a/b' is not a namespace"},
	{"a namespace with a dot",
	 META("{'name': 'p', 'namespace': 'a.b'}"),
	 "'a.b' is not a namespace"},
	{"a Namespace with a dot",
	 "{'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {'name': "
	 "'a.b'}}",
	 "'a.b' is not a name"},
	{"labels are a list",
	 META("{'name': 'p', 'labels': []}"),
	 "'labels' is not a mapping"},
	{"a label is a number",
	 META("{'name': 'p', 'labels': {'v': 1.0}}"),
	 "Pod default/p: metadata.labels: the value of 'v' is not a "
	 "string; it is refused"},
	{"a label with a space",
	 META("{'name': 'p', 'labels': {'v': 'a b'}}"),
	 "'a b' is not a label value"},
	{"a label key with '='",
	 META("{'name': 'p', 'labels': {'v=w': 'a'}}"),
	 "'v=w' is not a label key"},
	{"spec is a list",
	 POD(", 'spec': []"),
	 "'spec' is not a mapping"},
	{"hostNetwork is a string",
	 POD(", 'spec': {'hostNetwork': 'true'}"),
	 "'hostNetwork' is not true or false"},
	{"containers are a mapping",
	 POD(", 'spec': {'containers': {}}"),
	 "'containers' is not a list"},
	{"a container is null",
	 POD(", 'spec': {'containers': [null]}"),
	 "spec.containers[0]: not a mapping"},
	{"no containerPort",
	 POD(", 'spec': {'containers': [{}, {'ports': [{'name': 'x'}]}]}"),
	 "spec.containers[1].ports[0]: not a whole number"},
	{"containerPort is too high",
	 POD(", 'spec': {'containers': [{'ports': [{'containerPort': "
	     "65536}]}]}"),
	 "65536 is not a port"},
	{"a port's protocol",
	 POD(", 'spec': {'containers': [{'ports': [{'containerPort': 80, "
	     "'protocol': 'HTTP'}]}]}"),
	 "protocol 'HTTP' is not TCP, UDP or SCTP"},
	{"a port's name",
	 POD(", 'spec': {'containers': [{'ports': [{'containerPort': 80, "
	     "'name': '80'}]}]}"),
	 "'80' is not a port name"},
	{"an address",
	 POD(", 'status': {'podIPs': [{'ip': '10.0.0'}]}"),
	 "status.podIPs[0]: '10.0.0' is not an address"},
	{"an IPv4 address as IPv6",
	 POD(", 'status': {'podIP': '::ffff:10.0.0.1'}"),
	 "is not an address"},
	{"phase is a number",
	 POD(", 'status': {'phase': 1}"),
	 "'phase' is not a string"},
	{"spec of a policy",
	 NETPOL("[]"),
	 "'spec' is not a mapping"},
	{"podSelector is a list",
	 NETPOL("{'podSelector': []}"),
	 "'podSelector' is not a mapping"},
	{"an unknown field in podSelector",
	 NETPOL("{'podSelector': {'matchFields': {}}}"),
	 "NetworkPolicy shop/p: spec.podSelector: unknown field "
	 "'matchFields'; it is refused"},
	{"matchLabels is a list",
	 NETPOL("{'podSelector': {'matchLabels': []}}"),
	 "'matchLabels' is not a mapping"},
	{"a null label",
	 NETPOL("{'podSelector': {'matchLabels': {'a': null}}}"),
	 "spec.podSelector.matchLabels: '' is not a label value"},
	{"an operator",
	 NETPOL("{'podSelector': {'matchExpressions': [{'key': 'a', "
	        "'operator': 'in', 'values': ['b']}]}}"),
	 "operator 'in' is not In"},
	{"no operator",
	 NETPOL("{'podSelector': {'matchExpressions': [{'key': 'a'}]}}"),
	 "spec.podSelector.matchExpressions[0]: operator ''"},
	{"In without values",
	 NETPOL("{'podSelector': {'matchExpressions': [{'key': 'a', "
	        "'operator': 'In', 'values': []}]}}"),
	 "the operator needs values"},
	{"Exists with values",
	 NETPOL("{'podSelector': {'matchExpressions': [{'key': 'a', "
	        "'operator': 'Exists', 'values': ['b']}]}}"),
	 "the operator takes no values"},
	{"no key",
	 NETPOL("{'podSelector': {'matchExpressions': [{'operator': "
	        "'Exists'}]}}"),
	 "'' is not a label key"},
	{"an expression is null",
	 NETPOL("{'podSelector': {'matchExpressions': [null]}}"),
	 "matchExpressions[0]: not a mapping"},
};
/* clang-format on */

/* Each is refused whole: -EINVAL, the result untouched, and a sentence. */
static void malformed_manifests_are_refused_with_a_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		struct parsed p = manifest_parse(malformed[i].text);

		if (p.r != -EINVAL || p.object.kind != (enum object_kind)99)
			fail_msg("%s: not refused (%d)", malformed[i].name,
			         p.r);
		if (!strstr(p.err.text, malformed[i].says) ||
		    !strstr(p.err.text, "it is refused"))
			fail_msg("%s: says \"%s\"", malformed[i].name,
			         p.err.text);
		arena_free(p.arena);
	}
}

/* clang-format off */
static const struct {
	const char *name, *text, *says;
} unreadable[] = {
	{"a rule's field",
	 NETPOL("{'ingress': [{}, {'form': []}]}"),
	 "NetworkPolicy shop/p: spec.ingress[1]: unknown field 'form'; "
	 "that rule allows nothing"},
	{"a peer's field",
	 NETPOL("{'egress': [{'to': [{'fqdn': 'x'}]}]}"),
	 "spec.egress[0].to[0]: unknown field 'fqdn'"},
	{"an empty peer",
	 NETPOL("{'ingress': [{'from': [{}]}]}"),
	 "spec.ingress[0].from[0]: names no peer"},
	{"block and selector",
	 NETPOL("{'ingress': [{'from': [{'podSelector': {}, 'ipBlock': "
	        "{}}]}]}"),
	 "ipBlock can not stand beside a selector"},
	{"no cidr",
	 NETPOL("{'ingress': [{'from': [{'ipBlock': {}}]}]}"),
	 "spec.ingress[0].from[0].ipBlock: cidr '' is not a CIDR"},
	{"a wide cidr",
	 NETPOL("{'ingress': [{'from': [{'ipBlock': {'cidr': "
	        "'10.0.0.0/33'}}]}]}"),
	 "cidr '10.0.0.0/33' is not a CIDR"},
	{"an except outside",
	 NETPOL("{'ingress': [{'from': [{'ipBlock': {'cidr': "
	        "'10.0.0.0/8', 'except': ['10.1.0.0/16', "
	        "'11.0.0.0/16']}}]}]}"),
	 "ipBlock.except[1]: 11.0.0.0/16 is not strictly inside"},
	{"an except as wide",
	 NETPOL("{'ingress': [{'from': [{'ipBlock': {'cidr': "
	        "'10.0.0.0/8', 'except': ['10.0.0.0/8']}}]}]}"),
	 "10.0.0.0/8 is not strictly inside the cidr"},
	{"an except of the other family",
	 NETPOL("{'ingress': [{'from': [{'ipBlock': {'cidr': '::/0', "
	        "'except': ['10.0.0.0/8']}}]}]}"),
	 "10.0.0.0/8 is not strictly inside the cidr"},
	{"endPort",
	 NETPOL("{'ingress': [{'ports': [{'port': 80, 'endPort': "
	        "70000}]}]}"),
	 "spec.ingress[0].ports[0]: 70000 is not a port"},
	{"endPort below",
	 NETPOL("{'ingress': [{'ports': [{'port': 80, 'endPort': 79}]}]}"),
	 "endPort 79 is below port 80"},
	{"port is a string of digits",
	 NETPOL("{'ingress': [{'ports': [{'port': '80'}]}]}"),
	 "'80' is not a port name"},
	{"port is real",
	 NETPOL("{'ingress': [{'ports': [{'port': 80.5}]}]}"),
	 "not a whole number"},
	{"a spec's field",
	 NETPOL("{'tier': 'x'}"),
	 "spec: unknown field 'tier'; what it selects is isolated both "
	 "ways"},
	{"policyTypes",
	 NETPOL("{'policyTypes': ['Both']}"),
	 "policyTypes[0] is not Ingress or Egress"},
	{"ingress is a mapping",
	 NETPOL("{'ingress': {}}"),
	 "'ingress' is not a list"},
};
/* clang-format on */

/* Each is kept, isolates, and says what is wrong with it. */
static void policies_with_unreadable_rules_say_which(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(unreadable); i++) {
		struct parsed p = manifest_parse(unreadable[i].text);
		struct netpol *netpol = &p.object.netpol;

		if (p.r || p.object.kind != OBJECT_NETPOL)
			fail_msg("%s: refused: %s", unreadable[i].name,
			         p.err.text);
		if (!strstr(p.err.text, unreadable[i].says))
			fail_msg("%s: says \"%s\"", unreadable[i].name,
			         p.err.text);
		assert_true(netpol->applies[DIR_INGRESS]);
		for (int dir = 0; dir < DIR__COUNT; dir++)
			for (size_t r = 0; r < netpol->n_rules[dir]; r++)
				assert_true(
					netpol->rule[dir][r].unreadable ||
					(netpol->rule[dir][r].any_peer && !r));
		arena_free(p.arena);
	}
}

static void kinds_that_are_none_of_ours_are_passed_over(void **state)
{
	static const char *const texts[] = {
		"{'apiVersion': 'apps/v1', 'kind': 'Deployment'}",
		"{'apiVersion': 'v1', 'kind': 'Secret', 'metadata': 7}",
		"{'apiVersion': 'crd.projectcalico.org/v1', 'kind': "
		"'NetworkPolicy'}",
		"{'apiVersion': 'metrics.k8s.io/v1beta1', 'kind': "
		"'PodMetricsList'}",
		"{'apiVersion': 'v1', 'kind': 'PodTemplate'}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct parsed p = manifest_parse(texts[i]);

		assert_int_equal(p.r, 0);
		assert_int_equal(p.object.kind, OBJECT_NONE);
		assert_string_equal(p.err.text, "");
		arena_free(p.arena);
	}
}

static void a_pod_is_read_as_written(void **state)
{
	struct parsed p = manifest_parse(
		"{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
		"'web-0.a', 'labels': {'z': '1', 'app': 'web', 'x.io/t': ''}}, "
		"'spec': {'hostNetwork': false, 'nodeName': 'n1', 'containers': "
		"[{'name': 'c', 'ports': [{'containerPort': 9, 'name': ''}, "
		"{'name': 'http', 'containerPort': 80}]}, {'ports': [{'name': "
		"'dns', 'containerPort': 53, 'protocol': 'UDP'}]}], "
		"'initContainers': [{'ports': [{'name': 'gone', "
		"'containerPort': 1}]}, {'restartPolicy': 'Always', 'ports': "
		"[{'name': 'side', 'containerPort': 2, 'protocol': "
		"'SCTP'}]}]}, 'status': {'phase': 'Running', 'podIP': "
		"'10.0.0.1', 'podIPs': [{'ip': '10.0.0.1'}, {'ip': "
		"'fd00:0::1'}]}}");
	const struct pod *pod = &p.object.pod;
	char buf[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(p.r, 0);
	assert_string_equal(pod->ns, "default");
	assert_string_equal(pod->name, "web-0.a");
	assert_string_equal(pod->node, "n1");
	assert_int_equal(pod->labels.n, 3);
	assert_string_equal(pod->labels.item[0].key, "app");
	assert_string_equal(pod->labels.item[1].key, "x.io/t");
	assert_string_equal(pod->labels.item[1].value, "");
	assert_string_equal(pod->labels.item[2].key, "z");
	assert_int_equal(pod->n_ports, 3);
	assert_string_equal(pod->port[0].name, "http");
	assert_int_equal(pod->port[0].proto, IPPROTO_TCP);
	assert_int_equal(pod->port[1].proto, IPPROTO_UDP);
	assert_string_equal(pod->port[2].name, "side");
	assert_int_equal(pod->port[2].proto, IPPROTO_SCTP);
	assert_false(pod->host_network);
	assert_false(pod->finished);
	assert_int_equal(pod->n_addrs, 2);
	assert_string_equal(addr_format(&pod->addr[1], buf), "fd00::1");
	arena_free(p.arena);
}

static void a_namespace_gets_its_name_label_in_its_place(void **state)
{
	static const char *const labels[] = {
		"null", "{}", "{'a': '1', 'z': '2'}",
		"{'kubernetes.io/metadata.name': 'liar'}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		char text[256];
		struct parsed p;
		const struct labels *got;
		bool found = false;

		snprintf(text, sizeof(text),
		         "{'apiVersion': 'v1', 'kind': 'Namespace', "
		         "'metadata': {'name': 'shop', 'labels': %s}}",
		         labels[i]);
		p = manifest_parse(text);
		assert_int_equal(p.r, 0);
		got = &p.object.ns.labels;
		for (size_t l = 0; l < got->n; l++) {
			if (l)
				assert_true(strcmp(got->item[l - 1].key,
				                   got->item[l].key) < 0);
			if (strcmp(got->item[l].key,
			           "kubernetes.io/metadata.name") != 0)
				continue;
			assert_string_equal(got->item[l].value, "shop");
			found = true;
		}
		assert_true(found);
		arena_free(p.arena);
	}
}

static void an_arena_that_is_full_refuses_the_manifest(void **state)
{
	json_t *doc = doc_text(
		"%s",
		"{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
		"'p', 'labels': {'a': 'b'}}, 'spec': {'nodeName': 'x'}}");
	/* Below one block: the very first allocation fails. */
	struct arena *arena = arena_new(16);
	struct object object;
	struct err err;

	(void)state;
	assert_int_equal(object_parse(doc, arena, &object, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "no memory"));
	arena_free(arena);
	json_decref(doc);
}

static void prefixes_are_read_and_masked(void **state)
{
	static const struct {
		const char *text, *addr;
		int bits; /* as policy.h counts */
	} cases[] = {
		{"10.1.2.3/8",         "10.0.0.0",        104},
		{"10.1.2.3/32",        "10.1.2.3",        128},
		{"255.255.255.255/0",  "0.0.0.0",         96 },
		{"255.255.255.255/31", "255.255.255.254", 127},
		{"2001:db8::1/33",     "2001:db8::",      33 },
		{"::/0",               "::",              0  },
		{"ffff::/1",           "8000::",          1  },
		{"::1/128",            "::1",             128},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix prefix = {};
		char buf[ADDR_TEXT_MAX];

		assert_int_equal(prefix_parse(cases[i].text, &prefix), 0);
		assert_int_equal(prefix.bits, cases[i].bits);
		assert_string_equal(addr_format(&prefix.addr, buf),
		                    cases[i].addr);
		assert_true(prefix_contains(&prefix, &prefix.addr));
	}
}

static void what_is_no_prefix_is_refused(void **state)
{
	static const char *const texts[] = {
		"10.0.0.0",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/08",
		"10.0.0.0/8 ",
		"10.0.0.0/+8",
		"10.0.0/8",
		"010.0.0.0/8",
		"::/129",
		"::/4294967296",
		"::ffff:10.0.0.0/104",
		"/8",
		"",
		"fe80::1%eth0/64",
		"00000000000000000000000000000000000000000000000000000::/8",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct prefix prefix = {.bits = 77};

		if (prefix_parse(texts[i], &prefix) != -EINVAL ||
		    prefix.bits != 77)
			fail_msg("'%s' was taken", texts[i]);
	}
}

static void names_and_labels_follow_the_api(void **state)
{
	static const char long63[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	char long64[65], key[80];

	(void)state;
	snprintf(long64, sizeof(long64), "%sa", long63);
	snprintf(key, sizeof(key), "x.io/%s", long63);
	assert_true(syntax_is_dns_label(long63));
	assert_false(syntax_is_dns_label(long64));
	assert_false(syntax_is_dns_label(""));
	assert_false(syntax_is_dns_label("-a"));
	assert_false(syntax_is_dns_label("a-"));
	assert_true(syntax_is_dns_name("a.b-c.0"));
	assert_false(syntax_is_dns_name("a..b"));
	assert_false(syntax_is_dns_name("a."));
	assert_false(syntax_is_dns_name("."));
	assert_true(syntax_is_label_key(key));
	assert_true(syntax_is_label_key("app_X.y-z"));
	assert_false(syntax_is_label_key("X.io/a"));
	assert_false(syntax_is_label_key("a/b/c"));
	assert_false(syntax_is_label_key("/a"));
	assert_false(syntax_is_label_key("a/"));
	assert_false(syntax_is_label_key(long64));
	assert_true(syntax_is_label_value(""));
	assert_true(syntax_is_label_value(long63));
	assert_false(syntax_is_label_value(long64));
	assert_false(syntax_is_label_value(".a"));
	assert_true(syntax_is_port_name("http-8080"));
	assert_true(syntax_is_port_name("a23456789012345"));
	assert_false(syntax_is_port_name("a234567890123456"));
	assert_false(syntax_is_port_name("8080"));
	assert_false(syntax_is_port_name("a--b"));
	assert_false(syntax_is_port_name("HTTP"));
	assert_false(syntax_is_port_name(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			malformed_manifests_are_refused_with_a_sentence),
		cmocka_unit_test(policies_with_unreadable_rules_say_which),
		cmocka_unit_test(kinds_that_are_none_of_ours_are_passed_over),
		cmocka_unit_test(a_pod_is_read_as_written),
		cmocka_unit_test(a_namespace_gets_its_name_label_in_its_place),
		cmocka_unit_test(an_arena_that_is_full_refuses_the_manifest),
		cmocka_unit_test(prefixes_are_read_and_masked),
		cmocka_unit_test(what_is_no_prefix_is_refused),
		cmocka_unit_test(names_and_labels_follow_the_api),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

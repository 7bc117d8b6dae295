# SPDX-License-Identifier: Apache-2.0
# One Makefile, read top to bottom.  `make help` lists the targets.
CLANG   ?= $(or $(shell command -v clang-19),clang)
CC      := $(CLANG)
BPFTOOL ?= $(or $(shell command -v bpftool),/usr/sbin/bpftool)
FORMAT  ?= $(or $(shell command -v clang-format-19),clang-format)
TIDY    ?= $(or $(shell command -v clang-tidy-19),clang-tidy)
O       ?= build
SAN     ?=                      # make SAN=address,undefined check
PREFIX  ?= /usr/local
FUZZ_SECONDS ?= 20              # for each fuzz target

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wvla -Werror
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -I$O $(WARN) $(CFLAGS) \
             $(if $(strip $(SAN)),-fsanitize=$(strip $(SAN)) -fno-omit-frame-pointer) -MMD -MP
UAPI       := -idirafter /usr/include/$(shell uname -m)-linux-gnu
BPF_CFLAGS  = -target bpf -mcpu=v3 -O2 -g $(WARN) -I. $(UAPI) -MMD -MP $(BPF_EXTRA)
LDLIBS     := -Wl,--as-needed -lbpf -lelf -lz -ljansson -lyaml -lmicrohttpd -lcurl

# The pieces.  A new file is picked up by its directory.
lib_src    := $(wildcard lib/*.c)
policy_src := $(wildcard policy/*.c)
cni_src    := $(filter-out cni/main.c,$(wildcard cni/*.c))
daemon_src := $(filter-out daemon/main.c,$(wildcard daemon/*.c))
cli_src    := $(wildcard cli/*.c)
# Of the daemon, but done without it.
uninstall_src := $(wildcard daemon/uninstall*.c) daemon/undo.c daemon/port_list.c daemon/hook.c
test_lib   := $(wildcard test/lib/*.c)
unit_bin   := $(patsubst test/unit/%.c,$O/test/unit/%,$(wildcard test/unit/*_test.c))
bpf_bin    := $(patsubst test/bpf/%.c,$O/test/bpf/%,$(wildcard test/bpf/*_test.c))
tool_bin   := $(patsubst test/net/%.c,$O/test/net/%,$(wildcard test/net/*.c))
bench_bin  := $(patsubst test/bench/%.c,$O/test/bench/%,$(filter-out %.bpf.c,$(wildcard test/bench/*.c))) \
              $O/test/bench/floor.bpf.o $O/test/bench/hop.bpf.o
fuzz_bin   := $(patsubst test/fuzz/%.c,$O/test/fuzz/%,$(wildcard test/fuzz/*.c))
e2e_bin    := $(patsubst test/e2e/%.c,$O/test/e2e/%,$(wildcard test/e2e/*.c))
all_c      := $(filter-out $O/%,$(wildcard */*.c test/*/*.c))
all_h      := $(filter-out $O/%,$(wildcard */*.h test/*.h test/*/*.h))
tidied     := $(patsubst %.c,$O/%.tidy,$(filter-out test/% bpf/%,$(all_c)) bpf/datapath.bpf.c)
programs   := $O/stiled $O/stile $O/stile-cni
obj         = $(patsubst %.c,$O/%.o,$(1))

ifneq ($V,1)
Q := @
say = @printf '  %-6s %s\n' $(1) $(2)
endif

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all unit unit-bin tests check test demo bench mutate fuzz fuzz-run fmt fmt-check \
        tidy image e2e scale install uninstall clean help

all: $O/abi.ok $(programs)      ## build everything

# From a bare clone: install what is missing, then look for the tools again.
ready = $(Q)scripts/deps && $(MAKE) --no-print-directory \
        $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

check: unit fmt-check $O/abi.ok ## unit tests, formatting, layers; needs no root
	$(Q)scripts/check-layers
	$(Q)scripts/drop-reasons --check
	$(Q)scripts/test-run -O $O unit

test:                           ## every test (the privileged ones by sudo)
	$(ready) tests
	$(Q)scripts/test-run -O $O

demo:                           ## a node, pods, policies; KEEP=1 leaves it
	$(ready) all
	$(Q)O=$O scripts/demo

bench:                          ## the figures, to peers; BENCH=rr,cni: these
	$(ready) all $(bench_bin) $(addprefix $O/test/bpf/,lookups_test insns_test)
	$(Q)O=$O test/bench/run $(BENCH)

image: all                      ## the container image; TAG=name
	$(Q)O=$O TAG=$(TAG) scripts/image

e2e:                            ## a real Kubernetes; CLUSTER= FAMILY= ROUTING= KEEP=1
	$(ready) image $(e2e_bin)
	$(Q)O=$O test/e2e/run

scale:                          ## 10 000 pods on 1 000 nodes, one stiled
	$(ready) all
	$(Q)O=$O test/e2e/scale

mutate:                         ## plant bugs; the tests must catch each
	$(ready) all
	$(Q)O=$O test/mutate/run

fuzz:                           ## FUZZ_SECONDS of each fuzz target
	$(ready) O=$O/fuzz SAN=fuzzer-no-link,address,undefined fuzz-run

fmt:                            ## format the C
	$(Q)$(FORMAT) -i $(all_c) $(all_h)

tidy: $(tidied)                 ## clang-tidy over every file; findings fail

install: all                    ## programs, plugin, unit (DESTDIR, PREFIX)
	$(Q)DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) O=$O scripts/install

uninstall:                      ## what install brought; first `stile uninstall`
	$(Q)DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) scripts/install --remove

clean:                          ## forget everything built
	$(Q)rm -rf $O

help:                           ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /  \1\t/p' $(firstword $(MAKEFILE_LIST))

# Unit tests run with the sanitizers, built apart.
unit:
	$(Q)$(MAKE) --no-print-directory O=$O/san SAN=address,undefined unit-bin
unit-bin: $(unit_bin)
tests: all unit $(bpf_bin) $(tool_bin)

fmt-check:
	$(Q)$(FORMAT) --dry-run -Werror $(all_c) $(all_h)

# The datapath: one object, one skeleton.
$O/datapath.bpf.o: bpf/datapath.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c $< -o $@

$O/test/bench/%.bpf.o: test/bench/%.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c $< -o $@

# The datapath again, counting its lookups.
$O/test/bpf/lookups.bpf.o: bpf/datapath.bpf.c test/bpf/count_lookups.h
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -include test/bpf/count_lookups.h -c $< -o $@

# And without its tag check: the race test must see that.
$O/test/bpf/untagged.bpf.o: $(wildcard bpf/*)
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D)/untagged && cp $(wildcard bpf/*) $(@D)/untagged
	$(Q)sed -i 's/if (f->tag != tag) {/if (!tag) {/' $(@D)/untagged/follow.h
	$(Q)! cmp -s $(@D)/untagged/follow.h bpf/follow.h
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $(@D)/untagged/datapath.bpf.c -o $@

$O/test/bpf/race_test: | $O/test/bpf/untagged.bpf.o
$O/test/bpf/lookups_test: | $O/test/bpf/lookups.bpf.o
$O/test/bpf/insns_test: | $O/datapath.bpf.o

$O/datapath.skel.h: $O/datapath.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name datapath > $@

# The ABI has no implicit padding, for the host or for BPF.
$O/abi.ok: bpf/abi.h
	$(call say,ABI,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -x c -Wpadded -Werror -fsyntax-only -include $< /dev/null
	$(Q)$(CLANG) -target bpf $(UAPI) -x c -Wpadded -Werror -fsyntax-only -include $< /dev/null
	$(Q)touch $@

$(call obj,$(daemon_src) daemon/main.c): | $O/datapath.skel.h
$O/daemon/dp.o: $O/datapath.skel.h

$O/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -c $< -o $@

$O/stiled: $(call obj,daemon/main.c $(daemon_src) $(policy_src) cni/wire.c $(lib_src))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -o $@

$O/stile: $(call obj,$(cli_src) $(uninstall_src) cni/wire.c $(lib_src))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -o $@

# The plugin runs where none of our libraries are: static.
$O/stile-cni: $(call obj,cni/main.c $(cni_src) $(lib_src))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -static $^ -ljansson -o $@

$O/test/unit/%: $O/test/unit/%.o $(call obj,$(lib_src) $(policy_src) $(cni_src) $(daemon_src) $(filter-out cli/main.c,$(cli_src)) $(test_lib))
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -lcmocka -o $@

$O/test/bpf/%: $O/test/bpf/%.o $(call obj,$(lib_src) $(policy_src) $(cni_src) $(daemon_src) $(test_lib))
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -lcmocka -o $@

# Tools of the net tests and of the benchmarks: one file each.
$O/test/net/%: $O/test/net/%.o $(call obj,$(lib_src))
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $^ -ljansson -lpthread -o $@

$O/test/bench/%: $O/test/bench/%.o $(call obj,$(lib_src))
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -lpthread -o $@

# Programs of images that hold nothing else: static.
$O/test/e2e/%: $O/test/e2e/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -static $^ -o $@

# Fuzzers want every object built for them: `make fuzz` sets O and SAN.
$O/test/fuzz/%: $O/test/fuzz/%.o $(call obj,$(lib_src) $(policy_src) $(cni_src) $(daemon_src) $(test_lib))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -lcmocka -o $@

fuzz-run: $(fuzz_bin)
	$(Q)set -e; for f in $(fuzz_bin); do n=$$(basename $$f); \
		mkdir -p $O/corpus/$$n test/fuzz/corpus/$$n; \
		echo "  FUZZ   $$n"; \
		$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 \
			-print_final_stats=1 $O/corpus/$$n test/fuzz/corpus/$$n; \
	done

# A file is tidied again when its object would be built again.
$O/%.tidy: %.c $O/%.o .clang-tidy
	$(call say,TIDY,$<)
	$(Q)$(TIDY) --quiet $< -- $(ALL_CFLAGS) && touch $@

$O/bpf/datapath.bpf.tidy: bpf/datapath.bpf.c $O/datapath.bpf.o .clang-tidy
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D) && $(TIDY) --quiet $< -- $(BPF_CFLAGS) && touch $@

-include $(shell find $O \( -path $O/e2e -o -path $O/kind \) -prune -o -type f -name '*.d' -print 2>/dev/null)

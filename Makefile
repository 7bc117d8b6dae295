# One Makefile, read top to bottom.  `make help` lists the targets.
CLANG   ?= $(or $(shell command -v clang-19),clang)
CC      := $(CLANG)
BPFTOOL ?= $(or $(shell command -v bpftool),/usr/sbin/bpftool)
O       ?= build
SAN     ?=                      # make SAN=address,undefined check

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wvla -Werror
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -I$O $(WARN) $(CFLAGS) \
             $(if $(strip $(SAN)),-fsanitize=$(strip $(SAN)) -fno-omit-frame-pointer) -MMD -MP
UAPI       := -idirafter /usr/include/$(shell uname -m)-linux-gnu
BPF_CFLAGS  = -target bpf -mcpu=v3 -O2 -g $(WARN) -I. $(UAPI) -MMD -MP $(BPF_EXTRA)
LDLIBS     := -lbpf -lelf -lz -ljansson -lyaml

# The pieces.  A new file is picked up by its directory.
lib_src    := $(wildcard lib/*.c)
policy_src := $(wildcard policy/*.c)
cni_src    := $(filter-out cni/main.c,$(wildcard cni/*.c))
daemon_src := $(filter-out daemon/main.c,$(wildcard daemon/*.c))
cli_src    := $(wildcard cli/*.c)
test_lib   := $(wildcard test/lib/*.c)
unit_bin   := $(patsubst test/unit/%.c,$O/test/unit/%,$(wildcard test/unit/*_test.c))
bpf_bin    := $(patsubst test/bpf/%.c,$O/test/bpf/%,$(wildcard test/bpf/*_test.c))
tool_bin   := $(patsubst test/net/%.c,$O/test/net/%,$(wildcard test/net/*.c))
bench_bin  := $(patsubst test/bench/%.c,$O/test/bench/%,$(wildcard test/bench/*.c))
programs   := $O/stiled $O/stile $O/stile-cni
obj         = $(patsubst %.c,$O/%.o,$(1))

ifneq ($V,1)
Q := @
say = @printf '  %-6s %s\n' $(1) $(2)
endif

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all check test demo bench mutate fuzz fmt tidy install clean help

all: $O/abi.ok $(programs)      ## build everything

clean:                          ## forget everything built
	$(Q)rm -rf $O

help:                           ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /  \1\t/p' $(MAKEFILE_LIST)

# The datapath: one object, one skeleton.
$O/datapath.bpf.o: bpf/datapath.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c $< -o $@

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

$O/stile: $(call obj,$(cli_src) cni/wire.c $(lib_src))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -o $@

# The plugin runs where none of our libraries are: static.
$O/stile-cni: $(call obj,cni/main.c $(cni_src) $(lib_src))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -static $^ -ljansson -o $@

$O/test/unit/%: $O/test/unit/%.o $(call obj,$(lib_src) $(policy_src) $(cni_src) $(daemon_src) $(test_lib))
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

-include $(shell find $O -name '*.d' 2>/dev/null)

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One slot: callers queue on a mutex, so that at most one call is in hand.
 *
 *   STARTING --gate thread--> IDLE
 *   IDLE --caller--> ASKED --gate thread--> DONE --caller--> IDLE
 */

#include "vmm-core/gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define GATE_STACK (256 * 1024) /* bytes of address space */

enum gate_state { GATE_STARTING, GATE_IDLE, GATE_ASKED, GATE_DONE, GATE_QUIT };

struct gate {
	struct hv *hv;
	pthread_t thread;
	pthread_mutex_t callers; /* held through a whole call */
	pthread_mutex_t lock;	 /* guards what follows */
	pthread_cond_t asked;
	pthread_cond_t done;
	enum gate_state state;
	int (*fn)(struct hv *hv, void *arg);
	void *arg;
	int result;
};

/*
 * @sys core,vcpu futex: locks, and waiting for the gate or for the start
 */
static void *gate_thread(void *arg)
{
	struct gate *g = arg;

	prctl(PR_SET_NAME, "gate", 0, 0, 0);
	pthread_mutex_lock(&g->lock);
	g->state = GATE_IDLE;
	pthread_cond_signal(&g->done);
	for (;;) {
		while (g->state != GATE_ASKED && g->state != GATE_QUIT)
			pthread_cond_wait(&g->asked, &g->lock);
		if (g->state == GATE_QUIT)
			break;
		g->result = g->fn(g->hv, g->arg);
		g->state = GATE_DONE;
		pthread_cond_signal(&g->done);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

int gate_new(struct hv *hv, struct gate **ret, struct err *e)
{
	struct gate *g = calloc(1, sizeof(*g));
	pthread_attr_t attr;
	int r;

	if (!g)
		return err_set(e, -ENOMEM, "no memory for the gate");
	g->hv = hv;
	pthread_mutex_init(&g->callers, NULL);
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->asked, NULL);
	pthread_cond_init(&g->done, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, GATE_STACK);
	r = pthread_create(&g->thread, &attr, gate_thread, g);
	pthread_attr_destroy(&attr);
	if (r) {
		free(g);
		errno = r;
		return err_errno(e, "cannot start the gate's thread");
	}
	/* A starting thread makes system calls that no list allows. */
	pthread_mutex_lock(&g->lock);
	while (g->state == GATE_STARTING)
		pthread_cond_wait(&g->done, &g->lock);
	pthread_mutex_unlock(&g->lock);
	*ret = g;
	return 0;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->state = GATE_QUIT;
	pthread_cond_signal(&g->asked);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	pthread_cond_destroy(&g->asked);
	pthread_cond_destroy(&g->done);
	pthread_mutex_destroy(&g->callers);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

int gate_call(struct gate *g, int (*fn)(struct hv *hv, void *arg), void *arg)
{
	int r;

	pthread_mutex_lock(&g->callers);
	pthread_mutex_lock(&g->lock);
	g->fn = fn;
	g->arg = arg;
	g->state = GATE_ASKED;
	pthread_cond_signal(&g->asked);
	while (g->state != GATE_DONE)
		pthread_cond_wait(&g->done, &g->lock);
	g->state = GATE_IDLE;
	r = g->result;
	pthread_mutex_unlock(&g->lock);
	pthread_mutex_unlock(&g->callers);
	return r;
}

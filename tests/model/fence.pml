/* The fence of one partition: lives of owners, the wire, the log. docs/fence_model.md says what stands for what.
 *
 * A crash needs no step of its own: a life that goes no further is one, and what it sent may still land.
 *
 * A rule is taken out with -D: NO_FENCE, NO_OFFSET_RULE, TRUST_ERROR_OFFSET, CLAIM_UNREAD, GO_ON, NO_GAP_READ.
 * With all rules no assertion can fail; without any of them one must. */

#ifndef LIVES
#define LIVES 3   /* of owners; they overlap: one that does not notice is a zombie */
#endif
#ifndef FRAMES
#define FRAMES 2  /* that a life may send, all of them in flight */
#endif
#ifndef ROOM
#define ROOM 6    /* records that the log holds in all */
#endif
#define JOINED 64 /* head after a claim that was written without having seen the last frames */

#define ID(life, number) (1 + (life) * (FRAMES + 1) + (number))
#define CLAIM 0   /* the number of a claim; frames are numbered from 1 */

mtype = { durable, no_offset, unknown };  /* kinds of delivery reports */

typedef Record { byte epoch; byte number; byte id; byte prev };  /* id stands for the hash */
Record log[ROOM];
byte length = 0;
byte doubles = 1, lates = 1;  /* how often the wire may store twice, and late */

/* epoch, number, id, previous */
chan wire[LIVES] = [FRAMES] of { byte, byte, byte, byte };
/* kind, offset, id */
chan reports[LIVES] = [FRAMES] of { mtype, byte, byte };
Record late;
byte late_there = 0;

inline store(r_epoch, r_number, r_id, r_prev) {
  log[length].epoch = r_epoch; log[length].number = r_number; log[length].id = r_id; log[length].prev = r_prev;
  length++
}

/* events/fence.cpp: one record; fe, fn, fh are the fence, `ok` its verdict. */
inline admit(pos) {
  ok = 0;
  if
  :: log[pos].number == CLAIM ->
     if
     :: log[pos].epoch > fe ->
        fe = log[pos].epoch; fn = 0;
        fh = (log[pos].prev == fh -> log[pos].id : log[pos].id + JOINED);
        ok = 1
     :: else
     fi
  :: else ->
#ifdef NO_FENCE
     if
     :: log[pos].number == fn + 1 -> fn = log[pos].number; fh = log[pos].id; ok = 1
#else
     if
     :: log[pos].epoch == fe && fe > 0 && log[pos].number == fn + 1 && log[pos].prev == fh ->
        fn = log[pos].number; fh = log[pos].id; ok = 1
#endif
     :: else
     fi;
     assert(!ok || log[pos].epoch == fe)  /* I2, literally: fe is the highest claim before it */
  fi
}

/* I1, I2, I3 literally, over the whole log: what is acknowledged is there, no higher claim stands before it, the epoch's
 * first claim is this life's, and the frames before it stand before it, in order. */
inline acknowledge(a_id, a_number) {
  d_step {
    at = 0;
    do
    :: at < length && log[at].id != a_id -> at++
    :: else -> break
    od;
    assert(at < length);                                             /* I3: durable */
    found = 0; k = 0; last = 0;
    do
    :: k < at ->
       assert(!(log[k].number == CLAIM && log[k].epoch > epoch));    /* I2: not fenced off */
       if
       :: log[k].number == CLAIM && log[k].epoch == epoch && !found ->
          assert(log[k].id == claim_id);                             /* I2: the first claim wins */
          found = 1
       :: log[k].number != CLAIM && log[k].epoch == epoch && log[k].number == last + 1 -> last++
       :: else
       fi;
       k++
    :: else -> break
    od;
    assert(found);
    assert(last == a_number - 1)                                            /* I1: none is missing before it */
  }
}

proctype Life(byte me) {
  byte epoch, claim_id, head = 0, sent = 0, judged = 0, proven, id, off, at, k, last;
  byte fe, fn, fh;
  bool ok, found;
  mtype kind;

  /* FrameWriter::claim: reads the tail, appends a claim, reads to its own. */
  atomic {
    d_step {
      k = 0;
      do
      :: k < length -> admit(k); k++
      :: else -> break
      od;
      epoch = fe + 1; claim_id = ID(me, CLAIM)
    }
    wire[me]!epoch, CLAIM, claim_id, fh;
    d_step { fe = 0; fn = 0; fh = 0; k = 0; ok = 0 }
  }
  atomic {
  reports[me]?kind, off, id;
#ifdef CLAIM_UNREAD
  if
  :: kind != durable -> goto ended
  :: else -> proven = off; head = claim_id
  fi;
#else
  d_step {
    do
    :: k < length ->
       admit(k);
       if
       :: ok && log[k].epoch >= epoch && log[k].id == claim_id -> found = 1; proven = k; head = fh
       :: ok && log[k].epoch >= epoch && log[k].id != claim_id -> found = 0; break   /* another's */
       :: else
       fi;
       k++
    :: else -> break
    od
  }
  if
  :: !found -> goto ended
  :: else
  fi;
#endif
  d_step { fe = 0; fn = 0; fh = 0; k = 0; ok = 0; found = 0; off = 0; id = 0; kind = 0 }
  }

  /* Serving: frames go out, reports come in order. */
  do
  :: sent < FRAMES ->
     atomic {
       sent++;
       wire[me]!epoch, sent, ID(me, sent), head;
       head = ID(me, sent)
     }
  :: atomic { reports[me]?kind, off, id ->
     judged++;
     if
#ifdef TRUST_ERROR_OFFSET
     :: kind != no_offset && off == proven + 1 -> acknowledge(id, judged); proven = off
     :: kind == unknown && off != proven + 1 -> goto ended
#else
     :: kind == durable && off == proven + 1 ->                      /* the contiguous-offset rule */
        acknowledge(id, judged); proven = off
     :: kind == unknown ->
#ifdef GO_ON
        skip                                                         /* as if nothing had been */
#else
        goto ended                                                   /* drop the partition, claim anew */
#endif
#endif
     :: kind != unknown && !(kind == durable && off == proven + 1) ->
#ifdef NO_OFFSET_RULE
        acknowledge(id, judged)
#else
#ifdef NO_GAP_READ
        d_step {                                                     /* looks for the record, not at what stands before it */
          k = proven + 1; found = 0;
          do
          :: k < length && log[k].id == id -> found = 1; proven = k; break
          :: k < length && log[k].id != id -> k++
          :: else -> break
          od
        }
#else
        d_step {                                                     /* FrameWriter::find reads the gap */
          do
          :: k < length ->
             admit(k);
             if
             :: ok && k > proven && log[k].epoch != epoch -> break   /* fenced */
             :: ok && k > proven && log[k].id == id -> found = 1; proven = k; break
             :: else
             fi;
             k++
          :: else -> break
          od
        }
#endif
        if
        :: found -> acknowledge(id, judged)
        :: else -> goto ended
        fi
#endif
     fi;
     d_step { fe = 0; fn = 0; fh = 0; k = 0; ok = 0; found = 0; off = 0; id = 0; kind = 0; at = 0; last = 0 }
     }
  od;
ended:
  skip
}

/* The way to the log and back: stores once, twice, late or never, and tells so, half of it, or nothing. */
active proctype Wire() {
  byte o, e, n, i, p;
  do
  :: atomic {
       length < ROOM ->
       if
       :: wire[0]?e, n, i, p -> o = 0
       :: wire[1]?e, n, i, p -> o = 1
#if LIVES > 2
       :: wire[2]?e, n, i, p -> o = 2
#endif
       fi;
       if
       :: store(e, n, i, p); reports[o]!durable, length - 1, i
       :: store(e, n, i, p); reports[o]!no_offset, 0, i
       :: store(e, n, i, p); reports[o]!unknown, 0, i
       :: reports[o]!unknown, length, i                              /* never stored; the offset is invented */
       :: doubles > 0 && length + 1 < ROOM ->
          doubles--; store(e, n, i, p); store(e, n, i, p); reports[o]!durable, length - 2, i
       :: lates > 0 ->
          lates--; late_there = 1;
          late.epoch = e; late.number = n; late.id = i; late.prev = p;
          reports[o]!unknown, 0, i
       fi;
       o = 0; e = 0; n = 0; i = 0; p = 0
     }
  :: atomic {
       late_there && length < ROOM ->
       late_there = 0;
       store(late.epoch, late.number, late.id, late.prev);
       late.epoch = 0; late.number = 0; late.id = 0; late.prev = 0
     }
  od
}

init {
  atomic {
    run Life(0);
    run Life(1)
#if LIVES > 2
    ; run Life(2)
#endif
  }
}

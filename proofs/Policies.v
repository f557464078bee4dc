(* The objects of the suite, each defined once: policy, KL divergence, objective J, partition
   function Z, optimal policy pi*. And claim G11, on which the rest stands. *)

From Coq Require Import Reals Lra Lia.
From Dpo Require Import Sums.
Open Scope R_scope.

(* --- Definitions --- *)

(* A policy gives each of the n responses a probability; together they are 1. *)
Definition policy (n : nat) (p : nat -> R) : Prop :=
  (forall y, (y < n)%nat -> 0 <= p y) /\ Sum n p = 1.

(* It has full support if it gives every response more than nothing. *)
Definition full (n : nat) (p : nat -> R) : Prop := forall y, (y < n)%nat -> 0 < p y.

(* p lies within the support of q: what q never writes, p never writes.
   Elsewhere KL(p || q) is infinite. *)
Definition within (n : nat) (p q : nat -> R) : Prop :=
  forall y, (y < n)%nat -> q y = 0 -> p y = 0.

(* Two policies are the same if they agree on every response. *)
Definition same (n : nat) (p q : nat -> R) : Prop := forall y, (y < n)%nat -> p y = q y.

(* E_p[f], the mean of f over responses that p writes *)
Definition mean (n : nat) (p f : nat -> R) : R := Sum n (fun y => p y * f y).

(* KL(p || q); a response with p y = 0 adds 0 *)
Definition KL (n : nat) (p q : nat -> R) : R := Sum n (fun y => p y * ln (p y / q y)).

(* the objective: the mean reward less beta times the divergence from the reference policy *)
Definition J (n : nat) (beta : R) (ref r p : nat -> R) : R := mean n p r - beta * KL n p ref.

(* the partition function *)
Definition Z (n : nat) (beta : R) (ref r : nat -> R) : R :=
  Sum n (fun y => ref y * exp (r y / beta)).

(* pi*, the reference policy reweighted by exp(r / beta) *)
Definition pi_star (n : nat) (beta : R) (ref r : nat -> R) (y : nat) : R :=
  ref y * exp (r y / beta) / Z n beta ref r.

(* --- Policies --- *)

Lemma full_within n p q : full n q -> within n p q.
Proof. intros H y Hy E. specialize (H y Hy). lra. Qed.

Lemma policy_at_most_one n p y : policy n p -> (y < n)%nat -> p y <= 1.
Proof. intros [P <-] H. apply Sum_term; auto. Qed.

(* A policy writes something. *)
Lemma policy_somewhere n p : policy n p -> exists y, (y < n)%nat /\ 0 < p y.
Proof.
  intros [P E]. assert (K : forall m, (m <= n)%nat -> Sum m p <> 0 ->
    exists y, (y < n)%nat /\ 0 < p y).
  { induction m; simpl; intros Hm N. lra.
    destruct (P m) as [H | H]. lia. exists m; split; auto.
    apply IHm; [lia | lra]. }
  apply (K n); auto. lra.
Qed.

(* If p dominates q in every response, they are the same: both sum to 1. *)
Lemma policy_dominated n p q : policy n p -> policy n q ->
  (forall y, (y < n)%nat -> q y <= p y) -> same n p q.
Proof.
  intros [_ P] [_ Q] H y Hy.
  assert (p y - q y = 0); [| lra].
  apply (Sum_all_zero n (fun y => p y - q y)); auto.
  intros k Hk; specialize (H k Hk); lra.
  rewrite (Sum_ext _ _ (fun y => p y + (-1) * q y)) by (intros; ring).
  rewrite Sum_plus, Sum_scale, P, Q. ring.
Qed.

(* --- The divergence --- *)

(* A term of KL(p || q), written with the gap between x log x and its tangent at x = p/q. *)
Lemma KL_term p q : 0 <= p -> 0 <= q -> (q = 0 -> p = 0) ->
  p * ln (p / q) = q * (p / q * ln (p / q) - p / q + 1) + (p + (-1) * q).
Proof.
  intros Hp [Hq | <-] H. field; lra.
  rewrite H by auto. ring.
Qed.

(* KL(p || q) is the mean gap under q: what is left over, p - q, sums to 0. *)
Lemma KL_as_gaps n p q : policy n p -> policy n q -> within n p q ->
  KL n p q = Sum n (fun y => q y * (p y / q y * ln (p y / q y) - p y / q y + 1)).
Proof.
  intros [P P1] [Q Q1] W. unfold KL.
  erewrite Sum_ext by (intros y Hy; apply KL_term; auto).
  rewrite !Sum_plus, Sum_scale, P1, Q1. ring.
Qed.

Lemma gap_nonneg n p q y : policy n p -> policy n q -> (y < n)%nat ->
  0 <= q y * (p y / q y * ln (p y / q y) - p y / q y + 1).
Proof.
  intros [P _] [Q _] Hy. destruct (Q y Hy) as [H | <-]. 2: right; ring.
  apply Rmult_le_pos. lra. apply entropy_above_line_le.
  apply Rmult_le_pos; auto. left; apply Rinv_0_lt_compat; auto.
Qed.

(* G11: KL >= 0 ... *)
Theorem G11 n p q : policy n p -> policy n q -> within n p q -> 0 <= KL n p q.
Proof.
  intros P Q W. rewrite KL_as_gaps by auto.
  apply Sum_nonneg. intros; apply gap_nonneg with n; auto.
Qed.

(* ... with equality only for equal distributions, *)
Theorem G11_equality n p q : policy n p -> policy n q -> within n p q ->
  (KL n p q = 0 <-> same n p q).
Proof.
  intros P Q W. split.
  - (* Every gap is zero, so every ratio is 1. *)
    rewrite KL_as_gaps by auto. intros E y Hy.
    assert (G : q y * (p y / q y * ln (p y / q y) - p y / q y + 1) = 0).
    { apply (Sum_all_zero n (fun y => q y * (p y / q y * ln (p y / q y) - p y / q y + 1))); auto.
      intros; apply gap_nonneg with n; auto. }
    destruct (proj1 Q y Hy) as [Hq | Hq]. 2: rewrite <- Hq; apply W; auto.
    assert (p y / q y = 1) as R1.
    { destruct (Req_dec (p y / q y) 1) as [R1 | N]; auto.
      apply entropy_above_line in N.
      apply Rmult_integral in G as [G | G]; lra.
      apply Rmult_le_pos; [apply (proj1 P) | left; apply Rinv_0_lt_compat]; auto. }
    replace (p y) with (p y / q y * q y) by (field; lra). rewrite R1. ring.
  - (* Equal policies have only logarithms of 1. *)
    intros E. unfold KL. rewrite (Sum_ext _ _ (fun _ => 0)). apply Sum_zero.
    intros y Hy. rewrite E by auto. destruct (proj1 Q y Hy) as [Hq | <-]. 2: ring.
    unfold Rdiv. rewrite Rinv_r, ln_1 by lra. ring.
Qed.

(* O2: J is the mean of r - beta log(pi/pi_ref). *)
Theorem O2 n beta ref r p :
  J n beta ref r p = mean n p (fun y => r y - beta * ln (p y / ref y)).
Proof.
  unfold J, mean, KL.
  rewrite (Sum_ext _ (fun y => p y * (r y - _))
    (fun y => p y * r y + (- beta) * (p y * ln (p y / ref y)))) by (intros; ring).
  rewrite Sum_plus, Sum_scale. ring.
Qed.

(* --- The optimal policy --- *)

Section Star.
Variables (n : nat) (beta : R) (ref r : nat -> R).
Hypothesis ref_policy : policy n ref.
Local Notation star := (pi_star n beta ref r).

(* Z > 0, since the reference policy writes something. *)
Lemma Z_positive : 0 < Z n beta ref r.
Proof.
  destruct (policy_somewhere n ref ref_policy) as [y [Hy P]].
  apply Rlt_le_trans with (ref y * exp (r y / beta)).
  apply Rmult_lt_0_compat; auto using exp_pos.
  apply (Sum_term n (fun y => ref y * exp (r y / beta))); auto.
  intros k Hk. apply Rmult_le_pos. apply (proj1 ref_policy); auto. left; apply exp_pos.
Qed.

(* G4: pi* sums to 1, and no probability is negative: it is a policy. *)
Theorem G4 : policy n star.
Proof.
  pose proof Z_positive as P. unfold pi_star, Rdiv. split.
  - intros y Hy. pose proof (proj1 ref_policy y Hy). pose proof (exp_pos (r y * / beta)).
    pose proof (Rinv_0_lt_compat _ P). repeat apply Rmult_le_pos; lra.
  - rewrite (Sum_ext _ _ (fun y => / Z n beta ref r * (ref y * exp (r y / beta))))
      by (intros; unfold Rdiv; ring).
    rewrite Sum_scale. fold (Z n beta ref r). apply Rinv_l. lra.
Qed.

Lemma star_positive y : 0 < ref y -> 0 < star y.
Proof.
  intros. apply Rdiv_lt_0_compat; auto using Z_positive.
  apply Rmult_lt_0_compat; auto using exp_pos.
Qed.

(* G6: pi* is zero just where the reference policy is. *)
Theorem G6 y : (y < n)%nat -> (star y = 0 <-> ref y = 0).
Proof.
  intros Hy. split; intros E.
  - destruct (proj1 ref_policy y Hy) as [H | H]; auto. apply star_positive in H. lra.
  - unfold pi_star. rewrite E. unfold Rdiv. ring.
Qed.

(* log pi*/pi_ref = r/beta - log Z *)
Lemma log_ratio_star y : 0 < ref y -> ln (star y / ref y) = r y / beta - ln (Z n beta ref r).
Proof.
  intros H. pose proof Z_positive. pose proof (exp_pos (r y / beta)).
  unfold pi_star. rewrite !ln_quotient; auto using Rmult_lt_0_compat, Rdiv_lt_0_compat.
  rewrite ln_mult, ln_exp by auto. ring.
Qed.

(* log p/pi* = log p/pi_ref - (r/beta - log Z) *)
Lemma log_ratio_to_star p y : 0 < ref y -> 0 < p ->
  ln (p / star y) = ln (p / ref y) - (r y / beta - ln (Z n beta ref r)).
Proof.
  intros H Hp. rewrite <- log_ratio_star by auto.
  rewrite !ln_quotient by auto using star_positive. ring.
Qed.

Lemma within_star p : within n p ref -> within n p star.
Proof. intros W y Hy E. apply W; auto. apply G6; auto. Qed.

Lemma star_within : within n star ref.
Proof. intros y Hy E. apply G6; auto. Qed.
End Star.

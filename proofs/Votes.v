(* Policies and votes: the reward read back from a policy, and why Z vanishes. *)

From Coq Require Import Reals Lra Lia.
From Dpo Require Import Sums Policies.
Open Scope R_scope.

(* --- Definitions --- *)

(* the logistic function *)
Definition sigma (s : R) : R := / (1 + exp (- s)).

(* Bradley and Terry: the probability that response i is preferred to response j *)
Definition prefers (r : nat -> R) (i j : nat) : R := sigma (r i - r j).

(* the implicit reward beta log(pi/pi_ref) of a policy *)
Definition implicit (beta : R) (ref p : nat -> R) (y : nat) : R := beta * ln (p y / ref y).

(* --- The logistic function --- *)

Lemma sigma_positive s : 0 < sigma s.
Proof. pose proof (exp_pos (- s)). apply Rinv_0_lt_compat. lra. Qed.

Lemma sigma_minus s : 1 - sigma s = sigma (- s).
Proof.
  unfold sigma. rewrite Ropp_involutive, exp_Ropp. pose proof (exp_pos s). field. lra.
Qed.

Lemma sigma_increasing s t : s < t -> sigma s < sigma t.
Proof.
  intros H. pose proof (exp_pos (- s)). pose proof (exp_pos (- t)). apply Rinv_lt_contravar.
  apply Rmult_lt_0_compat; lra. apply Rplus_lt_compat_l, exp_increasing. lra.
Qed.

(* No two margins have the same probability. *)
Lemma sigma_injective s t : sigma s = sigma t -> s = t.
Proof.
  intros E. destruct (Rtotal_order s t) as [H | [H | H]]; auto;
    apply sigma_increasing in H; lra.
Qed.

(* P1: P = sigma(r_w - r_l) = exp(r_w)/(exp(r_w) + exp(r_l)) *)
Theorem P1 r w l : prefers r w l = exp (r w) / (exp (r w) + exp (r l)).
Proof.
  unfold prefers, sigma. replace (- (r w - r l)) with (r l + - r w) by ring.
  rewrite exp_plus, exp_Ropp. pose proof (exp_pos (r w)). pose proof (exp_pos (r l)). field. lra.
Qed.

(* The two orders of a pair are one vote. *)
Lemma prefers_swap r i j : prefers r j i = 1 - prefers r i j.
Proof. unfold prefers. rewrite sigma_minus. f_equal. ring. Qed.

(* --- The reward of a policy --- *)

Section Read_back.
Variables (n : nat) (beta : R) (ref r : nat -> R).
Hypotheses (beta_positive : 0 < beta) (ref_policy : policy n ref).
Local Notation star := (pi_star n beta ref r).
Local Notation Z := (Z n beta ref r).

(* R1: r = beta log pi*/pi_ref + beta log Z, on the support of the reference policy *)
Theorem R1 y : 0 < ref y -> r y = beta * ln (star y / ref y) + beta * ln Z.
Proof. intros. rewrite log_ratio_star by auto. field. lra. Qed.

(* P4: r_w - r_l = beta (Delta_pi* - Delta_ref), both responses to one prompt: Z cancels. *)
Theorem P4 w l : 0 < ref w -> 0 < ref l ->
  r w - r l = beta * ((ln (star w) - ln (star l)) - (ln (ref w) - ln (ref l))).
Proof.
  intros W L. rewrite (R1 w), (R1 l), !ln_quotient by auto using star_positive. ring.
Qed.

(* P2: the preference probability, by the policies alone *)
Theorem P2 w l : 0 < ref w -> 0 < ref l ->
  prefers r w l = sigma (beta * ((ln (star w) - ln (star l)) - (ln (ref w) - ln (ref l)))).
Proof. intros. unfold prefers. rewrite P4 by auto. reflexivity. Qed.

(* P3, refuted: with the ratio upside down the formula yields 1 - P, *)
Theorem P3 w l : 0 < ref w -> 0 < ref l ->
  sigma (beta * ln (ref w / star w) - beta * ln (ref l / star l)) = 1 - prefers r w l.
Proof.
  intros W L. unfold prefers. rewrite sigma_minus. f_equal.
  rewrite (R1 w), (R1 l), !ln_quotient by auto using star_positive. ring.
Qed.

(* which is P only where the two rewards are equal. *)
Theorem P3_differs w l : 0 < ref w -> 0 < ref l ->
  (sigma (beta * ln (ref w / star w) - beta * ln (ref l / star l)) = prefers r w l <-> r w = r l).
Proof.
  intros W L. rewrite P3 by auto. unfold prefers. rewrite sigma_minus. split; intros E.
  - apply sigma_injective in E. lra.
  - rewrite E. f_equal. ring.
Qed.

(* R5: the implicit reward of pi* is r - beta log Z, *)
Theorem R5 y : 0 < ref y -> implicit beta ref star y = r y - beta * ln Z.
Proof. intros. unfold implicit. rewrite (R1 y) by auto. ring. Qed.

(* and of all r - c it is the one with E_ref[exp(r^/beta)] = 1. *)
Theorem R5_gauge c : Policies.Z n beta ref (fun y => r y - c) = 1 <-> c = beta * ln Z.
Proof.
  pose proof (Z_positive n beta ref r ref_policy) as P.
  assert (E : Policies.Z n beta ref (fun y => r y - c) = exp (- c / beta) * Z).
  { unfold Policies.Z. rewrite <- Sum_scale. apply Sum_ext. intros y Hy.
    replace ((r y - c) / beta) with (- c / beta + r y / beta) by (field; lra).
    rewrite exp_plus. ring. }
  rewrite E. split; intros H.
  - apply (f_equal ln) in H. rewrite ln_mult, ln_exp, ln_1 in H by auto using exp_pos.
    replace c with (- (beta * (- c / beta))) by (field; lra).
    replace (- c / beta) with (- ln Z) by lra. ring.
  - rewrite H. replace (- (beta * ln Z) / beta) with (- ln Z) by (field; lra).
    rewrite exp_Ropp, exp_ln by auto. field. lra.
Qed.
End Read_back.

(* --- R3: rewards modulo a constant and full-support policies, one to one --- *)

(* Every full-support policy is the optimum of its implicit reward. *)
Theorem R3_onto n beta ref p : 0 < beta -> policy n ref -> full n ref -> policy n p -> full n p ->
  same n (pi_star n beta ref (implicit beta ref p)) p.
Proof.
  intros B R F P G.
  assert (W : forall y, (y < n)%nat -> ref y * exp (implicit beta ref p y / beta) = p y).
  { intros y Hy. specialize (F y Hy). specialize (G y Hy). unfold implicit.
    replace (beta * ln (p y / ref y) / beta) with (ln (p y / ref y)) by (field; lra).
    rewrite exp_ln by (apply Rdiv_lt_0_compat; auto). field. lra. }
  intros y Hy. unfold pi_star, Z. rewrite (Sum_ext _ _ p) by auto.
  rewrite W, (proj2 P) by auto. field.
Qed.

(* Two rewards have the same optimum just if they differ by a constant. *)
Theorem R3 n beta ref r q : 0 < beta -> policy n ref -> full n ref ->
  (same n (pi_star n beta ref r) (pi_star n beta ref q) <->
   exists c, forall y, (y < n)%nat -> q y = r y + c).
Proof.
  intros B P F. split.
  - (* Reading back both rewards leaves the difference of two constants. *)
    intros E. exists (beta * ln (Z n beta ref q) - beta * ln (Z n beta ref r)).
    intros y Hy. rewrite (R1 n beta ref q B P y), (R1 n beta ref r B P y) by auto.
    rewrite E by auto. ring.
  - intros [c E] y Hy.
    pose proof (Z_positive n beta ref r P). pose proof (exp_pos (c / beta)).
    assert (X : forall k, (k < n)%nat -> exp (q k / beta) = exp (c / beta) * exp (r k / beta)).
    { intros. rewrite E, <- exp_plus by auto. f_equal. field. lra. }
    unfold pi_star. rewrite X by auto.
    replace (Z n beta ref q) with (exp (c / beta) * Z n beta ref r). field; lra.
    unfold Z. rewrite <- Sum_scale. apply Sum_ext. intros. rewrite X by auto. ring.
Qed.

(* Finite sums, two inequalities of the logarithm, and derivatives: the tools of the proofs.

   A prompt has n responses, numbered 0 to n - 1.
   What is given for each response (a reward, a policy) is a function from numbers to reals. *)

From Coq Require Import Reals Lra Lia.
Open Scope R_scope.

(* --- Sums --- *)

(* The sum of f over the responses 0, ..., n - 1. *)
Fixpoint Sum (n : nat) (f : nat -> R) : R :=
  match n with
  | O => 0
  | S m => Sum m f + f m
  end.

(* Equal terms have equal sums. *)
Lemma Sum_ext n f g : (forall y, (y < n)%nat -> f y = g y) -> Sum n f = Sum n g.
Proof. induction n; simpl; intros H; auto. rewrite IHn, H; auto. Qed.

Lemma Sum_plus n f g : Sum n (fun y => f y + g y) = Sum n f + Sum n g.
Proof. induction n; simpl; try rewrite IHn; ring. Qed.

Lemma Sum_scale n c f : Sum n (fun y => c * f y) = c * Sum n f.
Proof. induction n; simpl; try rewrite IHn; ring. Qed.

Lemma Sum_zero n : Sum n (fun _ => 0) = 0.
Proof. induction n; simpl; try rewrite IHn; ring. Qed.

Lemma Sum_le n f g : (forall y, (y < n)%nat -> f y <= g y) -> Sum n f <= Sum n g.
Proof. induction n; simpl; intros H. lra. apply Rplus_le_compat; auto. Qed.

Lemma Sum_nonneg n f : (forall y, (y < n)%nat -> 0 <= f y) -> 0 <= Sum n f.
Proof. intros H. rewrite <- (Sum_zero n). apply Sum_le; auto. Qed.

(* No term of a sum of nonnegative terms exceeds the sum. *)
Lemma Sum_term n f k : (forall y, (y < n)%nat -> 0 <= f y) -> (k < n)%nat -> f k <= Sum n f.
Proof.
  induction n; simpl; intros H Hk. lia.
  assert (0 <= Sum n f) by (apply Sum_nonneg; auto).
  assert (0 <= f n) by auto.
  assert (k = n \/ (k < n)%nat) as [-> | Hl] by lia. lra.
  assert (f k <= Sum n f) by auto. lra.
Qed.

(* If it is zero, every term is. *)
Lemma Sum_all_zero n f : (forall y, (y < n)%nat -> 0 <= f y) -> Sum n f = 0 ->
  forall y, (y < n)%nat -> f y = 0.
Proof.
  intros H E y Hy. pose proof (Sum_term n f y H Hy). specialize (H y Hy). lra.
Qed.

(* Two finite sums may change places. *)
Lemma Sum_swap n m (f : nat -> nat -> R) :
  Sum n (fun i => Sum m (fun j => f i j)) = Sum m (fun j => Sum n (fun i => f i j)).
Proof.
  induction n; simpl. symmetry; apply Sum_zero.
  rewrite IHn, <- Sum_plus. reflexivity.
Qed.

(* The sum of f over all pairs of responses, with the same laws. *)
Definition Sum2 (n : nat) (f : nat -> nat -> R) : R := Sum n (fun i => Sum n (fun j => f i j)).

Lemma Sum2_ext n f g :
  (forall i j, (i < n)%nat -> (j < n)%nat -> f i j = g i j) -> Sum2 n f = Sum2 n g.
Proof. intros H. apply Sum_ext. intros i Hi. apply Sum_ext. auto. Qed.

Lemma Sum2_plus n f g : Sum2 n (fun i j => f i j + g i j) = Sum2 n f + Sum2 n g.
Proof. unfold Sum2. rewrite <- Sum_plus. apply Sum_ext. intros. apply Sum_plus. Qed.

Lemma Sum2_scale n c f : Sum2 n (fun i j => c * f i j) = c * Sum2 n f.
Proof. unfold Sum2. rewrite <- Sum_scale. apply Sum_ext. intros. apply Sum_scale. Qed.

Lemma Sum2_nonneg n f :
  (forall i j, (i < n)%nat -> (j < n)%nat -> 0 <= f i j) -> 0 <= Sum2 n f.
Proof. intros H. apply Sum_nonneg. intros. apply Sum_nonneg. auto. Qed.

Lemma Sum2_zero n f :
  (forall i j, (i < n)%nat -> (j < n)%nat -> f i j = 0) -> Sum2 n f = 0.
Proof.
  intros H. rewrite (Sum2_ext _ _ (fun _ _ => 0 * 0)), Sum2_scale. ring.
  intros. rewrite H by auto. ring.
Qed.

Lemma Sum2_all_zero n f : (forall i j, (i < n)%nat -> (j < n)%nat -> 0 <= f i j) ->
  Sum2 n f = 0 -> forall i j, (i < n)%nat -> (j < n)%nat -> f i j = 0.
Proof.
  intros H E i j Hi Hj.
  apply (Sum_all_zero n (fun j => f i j)); auto.
  apply (Sum_all_zero n (fun i => Sum n (fun j => f i j))); auto.
  intros. apply Sum_nonneg. auto.
Qed.

(* 1 at response k, 0 elsewhere: it picks one term out of a sum. *)
Definition at_response (k y : nat) : R := if Nat.eqb y k then 1 else 0.

Lemma Sum_pick n k f : (k < n)%nat -> Sum n (fun y => at_response k y * f y) = f k.
Proof.
  unfold at_response. induction n; simpl; intros H. lia.
  destruct (Nat.eqb_spec n k) as [-> | N].
  - rewrite (Sum_ext _ _ (fun _ => 0)), Sum_zero. ring.
    intros y Hy. destruct (Nat.eqb_spec y k). lia. ring.
  - rewrite IHn by lia. ring.
Qed.

(* --- Exponential and logarithm --- *)

Lemma ln_quotient a b : 0 < a -> 0 < b -> ln (a / b) = ln a - ln b.
Proof.
  intros. unfold Rdiv. rewrite ln_mult, ln_Rinv; auto using Rinv_0_lt_compat.
Qed.

(* x log x lies above x - 1 (with 0 log 0 = 0) and touches it at 1 only. *)
Lemma entropy_above_line x : 0 <= x -> x <> 1 -> 0 < x * ln x - x + 1.
Proof.
  intros [Hx | <-] N; [| rewrite Rmult_0_l; lra].
  (* exp lies above its tangent at 0; taken at log (1/x) that is log (1/x) < 1/x - 1. *)
  assert (L : ln (/ x) <> 0).
  { intros E. apply N. rewrite ln_Rinv in E by auto.
    rewrite <- (exp_ln x Hx). replace (ln x) with 0 by lra. apply exp_0. }
  pose proof (exp_ineq1 _ L) as H. rewrite exp_ln in H by auto using Rinv_0_lt_compat.
  rewrite ln_Rinv in H by auto.
  (* Multiplied by x it is the statement. *)
  apply Rmult_lt_compat_l with (r := x) in H; auto.
  rewrite Rinv_r in H by lra. lra.
Qed.

Lemma entropy_above_line_le x : 0 <= x -> 0 <= x * ln x - x + 1.
Proof.
  intros H. destruct (Req_dec x 1) as [-> | N]. rewrite ln_1; lra.
  left. apply entropy_above_line; auto.
Qed.

Lemma exp_le a b : a <= b -> exp a <= exp b.
Proof. intros [H | ->]. left; apply exp_increasing; auto. right; auto. Qed.

Lemma ln_le a b : 0 < a -> a <= b -> ln a <= ln b.
Proof. intros H [L | ->]. left; apply ln_increasing; auto. right; auto. Qed.

(* --- Derivatives --- *)

Lemma derivative_ext f g x d :
  (forall t, f t = g t) -> derivable_pt_lim f x d -> derivable_pt_lim g x d.
Proof. intros E H e He. destruct (H e He) as [a Ha]. exists a. intros. rewrite <- !E. auto. Qed.

Lemma derivative_value f x d e : derivable_pt_lim f x d -> d = e -> derivable_pt_lim f x e.
Proof. intros H <-. auto. Qed.

(* a sum is differentiated term by term *)
Lemma derivative_Sum n (f : nat -> R -> R) (d : nat -> R) x :
  (forall y, (y < n)%nat -> derivable_pt_lim (f y) x (d y)) ->
  derivable_pt_lim (fun t => Sum n (fun y => f y t)) x (Sum n d).
Proof.
  induction n; simpl; intros H. apply derivable_pt_lim_const.
  apply (derivable_pt_lim_plus (fun t => Sum n (fun y => f y t)) (f n)); auto.
Qed.

(* the chain rule for a t + b *)
Lemma derivative_affine g a b t d : derivable_pt_lim g (a * t + b) d ->
  derivable_pt_lim (fun s => g (a * s + b)) t (d * a).
Proof.
  intros H. apply (derivable_pt_lim_comp (fun s => a * s + b) g); auto.
  apply derivative_value with (a * 1 + 0). 2: ring.
  apply (derivable_pt_lim_plus (fun s => a * s) (fun _ => b)).
  apply (derivable_pt_lim_scal (fun s => s)). apply derivable_pt_lim_id.
  apply derivable_pt_lim_const.
Qed.

(* the slope of g at a, in the direction v *)
Lemma derivative_line g a v d : derivable_pt_lim g a d ->
  derivable_pt_lim (fun t => g (a + t * v)) 0 (d * v).
Proof.
  intros H. apply derivative_ext with (fun t => g (v * t + a)).
  intros; f_equal; ring. apply derivative_affine. replace (v * 0 + a) with a by ring. auto.
Qed.

Lemma derivative_scale c f x d :
  derivable_pt_lim f x d -> derivable_pt_lim (fun t => c * f t) x (c * d).
Proof. intros. apply (derivable_pt_lim_scal f); auto. Qed.

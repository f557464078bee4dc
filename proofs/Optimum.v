(* The policy that maximises J: the completed divergence, and what follows from it. *)

From Coq Require Import Reals Lra Lia.
From Dpo Require Import Sums Policies.
Open Scope R_scope.

Section Optimum.
(* A prompt with n responses, their rewards, a reference policy, and a leash beta > 0. *)
Variables (n : nat) (beta : R) (ref r : nat -> R).
Hypotheses (beta_positive : 0 < beta) (ref_policy : policy n ref).
Local Notation star := (pi_star n beta ref r).
Local Notation Z := (Z n beta ref r).
Local Notation J := (J n beta ref r).

(* --- G7: the completed divergence --- *)

Theorem G7 p : policy n p -> within n p ref -> J p = beta * ln Z - beta * KL n p star.
Proof.
  intros P W. rewrite O2. unfold mean, KL.
  (* Response by response: r - beta log p/pi_ref = beta log Z - beta log p/pi*. *)
  rewrite (Sum_ext _ _ (fun y => beta * ln Z * p y + (- beta) * (p y * ln (p y / star y)))).
  - (* The first part is beta log Z, since p sums to 1. *)
    rewrite Sum_plus, !Sum_scale, (proj2 P). ring.
  - intros y Hy. destruct (proj1 P y Hy) as [Hp | <-]. 2: ring.
    assert (0 < ref y).
    { destruct (proj1 ref_policy y Hy) as [H | H]; auto. rewrite W in Hp; auto; lra. }
    rewrite log_ratio_to_star by auto. field. lra.
Qed.

Lemma KL_star_star : KL n star star = 0.
Proof. apply G11_equality; auto using G4. intros y Hy H; auto. intros y Hy; auto. Qed.

Theorem G7_value : J star = beta * ln Z.
Proof. rewrite G7, KL_star_star; auto using G4, star_within. ring. Qed.

Theorem G7_gap p : policy n p -> within n p ref -> J star - J p = beta * KL n p star.
Proof. intros. rewrite G7_value, G7 by auto. ring. Qed.

(* No policy has a larger J than pi*, *)
Theorem G7_optimal p : policy n p -> within n p ref -> J p <= J star.
Proof.
  intros P W. pose proof (G7_gap p P W).
  assert (0 <= beta * KL n p star); [| lra].
  apply Rmult_le_pos. lra. apply G11; auto using G4, within_star.
Qed.

(* and no other policy has the same. *)
Theorem G7_unique p : policy n p -> within n p ref -> (J p = J star <-> same n p star).
Proof.
  intros P W. pose proof (G7_gap p P W) as G. split; intros E.
  - apply G11_equality; auto using G4, within_star.
    apply Rmult_eq_reg_l with beta; lra.
  - apply G11_equality in E; auto using G4, within_star. rewrite E in G. lra.
Qed.

(* G13: the larger J, the smaller the KL from p to pi* : over any class argmax J = argmin KL. *)
Theorem G13 p q : policy n p -> within n p ref -> policy n q -> within n q ref ->
  (J p <= J q <-> KL n q star <= KL n p star).
Proof.
  intros P W Q V. rewrite !G7 by auto. split; intros H.
  - apply Rmult_le_reg_l with beta; lra.
  - apply Rmult_le_compat_l with (r := beta) in H; lra.
Qed.

(* --- G1 to G3: Lagrange --- *)

(* the slope of x log(x/q) *)
Lemma slope_of_term x q : 0 < x -> 0 < q ->
  derivable_pt_lim (fun t => t * ln (t / q)) x (ln (x / q) + 1).
Proof.
  intros Hx Hq.
  apply derivative_value with (1 * ln (x / q) + x * (/ (x / q) * / q)). 2: field; lra.
  apply (derivable_pt_lim_mult (fun t => t) (fun t => ln (t / q))).
  apply derivable_pt_lim_id.
  apply derivative_ext with (fun t => ln (/ q * t + 0)). intros; f_equal; unfold Rdiv; ring.
  apply derivative_affine. replace (/ q * x + 0) with (x / q) by (unfold Rdiv; ring).
  apply derivable_pt_lim_ln. apply Rdiv_lt_0_compat; auto.
Qed.

(* G1: along any direction v the slope of the Lagrangian J + lambda (sum pi - 1) is the sum of
   v (r - beta (log pi/pi_ref + 1) + lambda). *)
Theorem G1 lambda p v : full n ref -> full n p ->
  derivable_pt_lim
    (fun t => J (fun y => p y + t * v y) + lambda * (Sum n (fun y => p y + t * v y) - 1)) 0
    (Sum n (fun y => v y * (r y - beta * (ln (p y / ref y) + 1) + lambda))).
Proof.
  intros F P.
  (* Everything is one sum, less lambda, and is differentiated term by term. *)
  apply derivative_ext with (fun t => Sum n (fun y =>
    (r y + lambda) * (p y + t * v y)
      + (- beta) * ((p y + t * v y) * ln ((p y + t * v y) / ref y))) + - lambda).
  { intros t. rewrite Sum_plus, !Sum_scale. unfold Policies.J, mean, KL.
    rewrite (Sum_ext _ (fun y => (p y + t * v y) * r y)
      (fun y => (r y + lambda) * (p y + t * v y) + (- lambda) * (p y + t * v y)))
      by (intros; ring).
    rewrite !Sum_plus, !Sum_scale, Sum_plus, Sum_scale.
    rewrite (Sum_ext _ (fun y => (r y + lambda) * (p y + t * v y))
      (fun y => (r y + lambda) * p y + t * ((r y + lambda) * v y))) by (intros; ring).
    rewrite Sum_plus, Sum_scale. ring. }
  apply derivative_value with (Sum n (fun y =>
    (r y + lambda) * (1 * v y) + (- beta) * ((ln (p y / ref y) + 1) * v y)) + 0).
  2: { rewrite Rplus_0_r. apply Sum_ext. intros; ring. }
  apply (derivable_pt_lim_plus (fun t => Sum n (fun y => _)) (fun _ => - lambda)).
  2: apply derivable_pt_lim_const.
  apply (derivative_Sum n (fun y t => (r y + lambda) * (p y + t * v y)
      + (- beta) * ((p y + t * v y) * ln ((p y + t * v y) / ref y)))).
  intros y Hy.
  apply (derivable_pt_lim_plus (fun t => (r y + lambda) * (p y + t * v y))
    (fun t => - beta * ((p y + t * v y) * ln ((p y + t * v y) / ref y)))); apply derivative_scale.
  - apply (derivative_line (fun x => x)). apply derivable_pt_lim_id.
  - apply (derivative_line (fun x => x * ln (x / ref y))). apply slope_of_term; auto.
Qed.

(* G2: where the Lagrangian is stationary, log pi/pi_ref = (r + lambda - beta)/beta. *)
Theorem G2 lambda p y :
  r y - beta * (ln (p y / ref y) + 1) + lambda = 0 <->
  ln (p y / ref y) = (r y + lambda - beta) / beta.
Proof.
  split; intros H.
  - apply Rmult_eq_reg_l with beta; [| lra]. field_simplify; lra.
  - rewrite H. field. lra.
Qed.

(* G3: only pi* is stationary among policies, and its multiplier is beta (1 - log Z). *)
Theorem G3 lambda p : full n ref -> full n p -> Sum n p = 1 ->
  ((forall y, (y < n)%nat -> r y - beta * (ln (p y / ref y) + 1) + lambda = 0) <->
   same n p star /\ lambda = beta * (1 - ln Z)).
Proof.
  intros F P P1. pose proof (Z_positive n beta ref r ref_policy) as PZ. split.
  - intros H.
    (* By G2 pi is pi_ref exp(r/beta) times the constant exp(lambda/beta - 1), *)
    assert (E : forall y, (y < n)%nat ->
      p y = exp (lambda / beta - 1) * (ref y * exp (r y / beta))).
    { intros y Hy. pose proof (H y Hy) as G. apply G2 in G.
      replace (p y) with (ref y * (p y / ref y)) by (field; specialize (F y Hy); lra).
      rewrite <- (exp_ln (p y / ref y)) by (apply Rdiv_lt_0_compat; auto).
      rewrite G. replace ((r y + lambda - beta) / beta) with ((lambda / beta - 1) + r y / beta)
        by (field; lra).
      rewrite exp_plus. ring. }
    (* which is 1/Z, because pi sums to 1. *)
    assert (C : exp (lambda / beta - 1) * Z = 1).
    { rewrite <- P1 at 2. unfold Policies.Z. rewrite <- Sum_scale. symmetry.
      apply Sum_ext; auto. }
    assert (C1 : exp (lambda / beta - 1) = / Z).
    { apply Rmult_eq_reg_r with Z; [| lra]. rewrite C. field. lra. }
    split.
    + intros y Hy. rewrite E, C1 by auto. unfold pi_star, Rdiv. ring.
    + assert (L : lambda / beta - 1 = - ln Z).
      { rewrite <- (ln_exp (lambda / beta - 1)), C1. apply ln_Rinv; auto. }
      replace lambda with (beta * (lambda / beta - 1) + beta) by (field; lra).
      rewrite L. ring.
  - intros [E ->] y Hy. rewrite E, log_ratio_star by auto. field. lra.
Qed.

(* --- G5: strict concavity --- *)

(* the point that is the share t of the way from q to p *)
Definition mixture (t : R) (p q : nat -> R) (y : nat) : R := t * p y + (1 - t) * q y.

Lemma mixture_policy t p q : 0 < t < 1 -> policy n p -> policy n q -> policy n (mixture t p q).
Proof.
  intros T [P P1] [Q Q1]. unfold mixture. split.
  - intros y Hy. specialize (P y Hy). specialize (Q y Hy).
    apply Rplus_le_le_0_compat; apply Rmult_le_pos; lra.
  - rewrite Sum_plus, !Sum_scale, P1, Q1. ring.
Qed.

(* p log(p/q) = p log(p/m) + p log(m/q) *)
Lemma through p m q : 0 <= p -> (0 < p -> 0 < m) -> (0 < p -> 0 < q) ->
  p * ln (p / q) = p * ln (p / m) + p * ln (m / q).
Proof.
  intros [H | <-] M Q. 2: ring.
  rewrite !ln_quotient by auto. ring.
Qed.

Lemma positive_within p y : policy n p -> within n p ref -> (y < n)%nat -> 0 < p y -> 0 < ref y.
Proof.
  intros P W Hy H. destruct (proj1 ref_policy y Hy) as [G | G]; auto.
  rewrite W in H; auto; lra.
Qed.

(* What J of the mixture has above the mixture of the two J: two divergences to the mixture. *)
Lemma J_of_mixture t p q : 0 < t < 1 -> policy n p -> policy n q -> within n p ref ->
  within n q ref -> J (mixture t p q) = t * J p + (1 - t) * J q
    + beta * (t * KL n p (mixture t p q) + (1 - t) * KL n q (mixture t p q)).
Proof.
  intros T P Q W V.
  assert (E : KL n (mixture t p q) ref = t * KL n p ref + (1 - t) * KL n q ref
    - (t * KL n p (mixture t p q) + (1 - t) * KL n q (mixture t p q))).
  { unfold KL. rewrite (Sum_ext _ (fun y => mixture t p q y * _) (fun y =>
      t * (p y * ln (p y / ref y)) + (1 - t) * (q y * ln (q y / ref y))
      + ((- t) * (p y * ln (p y / mixture t p q y))
      + (- (1 - t)) * (q y * ln (q y / mixture t p q y))))).
    - rewrite !Sum_plus, !Sum_scale. ring.
    - intros y Hy. pose proof (proj1 P y Hy). pose proof (proj1 Q y Hy).
      assert (M : forall a b, 0 <= a -> 0 <= b -> 0 < a \/ 0 < b -> 0 < t * a + (1 - t) * b).
      { intros a b A B [G | G].
        assert (0 < t * a) by (apply Rmult_lt_0_compat; lra).
        assert (0 <= (1 - t) * b) by (apply Rmult_le_pos; lra). lra.
        assert (0 < (1 - t) * b) by (apply Rmult_lt_0_compat; lra).
        assert (0 <= t * a) by (apply Rmult_le_pos; lra). lra. }
      rewrite (through (p y) (mixture t p q y) (ref y)), (through (q y) (mixture t p q y) (ref y));
        unfold mixture; eauto using positive_within. ring. }
  unfold Policies.J. rewrite E. unfold mean, mixture.
  rewrite (Sum_ext _ (fun y => (t * p y + (1 - t) * q y) * r y)
    (fun y => t * (p y * r y) + (1 - t) * (q y * r y))) by (intros; ring).
  rewrite Sum_plus, !Sum_scale. ring.
Qed.

(* G5: J is strictly concave along every segment between two policies, faces of the simplex
   included; so there are no two best policies, and a stationary policy is the best. *)
Theorem G5 t p q : 0 < t < 1 -> policy n p -> policy n q -> within n p ref -> within n q ref ->
  ~ same n p q -> t * J p + (1 - t) * J q < J (mixture t p q).
Proof.
  intros T P Q W V N. rewrite J_of_mixture by auto.
  set (m := mixture t p q).
  pose proof (mixture_policy t p q T P Q) as M. fold m in M.
  (* Both policies lie within the support of the mixture. *)
  assert (Wp : within n p m).
  { intros y Hy E. pose proof (proj1 P y Hy). pose proof (proj1 Q y Hy). unfold m, mixture in E.
    assert (0 <= (1 - t) * q y) by (apply Rmult_le_pos; lra).
    assert (0 <= t * p y) by (apply Rmult_le_pos; lra).
    apply Rmult_eq_reg_l with t; lra. }
  assert (Wq : within n q m).
  { intros y Hy E. pose proof (proj1 P y Hy). pose proof (proj1 Q y Hy). unfold m, mixture in E.
    assert (0 <= (1 - t) * q y) by (apply Rmult_le_pos; lra).
    assert (0 <= t * p y) by (apply Rmult_le_pos; lra).
    apply Rmult_eq_reg_l with (1 - t); lra. }
  pose proof (G11 n p m P M Wp) as Kp. pose proof (G11 n q m Q M Wq) as Kq.
  (* The first divergence is positive, since p is not the mixture. *)
  assert (0 < KL n p m).
  { destruct Kp as [| E]; auto. exfalso. apply N. symmetry in E.
    apply G11_equality in E; auto. intros y Hy. specialize (E y Hy). unfold m, mixture in E.
    apply Rmult_eq_reg_l with (1 - t); lra. }
  assert (0 < t * KL n p m) by (apply Rmult_lt_0_compat; lra).
  assert (0 <= (1 - t) * KL n q m) by (apply Rmult_le_pos; lra).
  assert (0 < beta * (t * KL n p m + (1 - t) * KL n q m)); [| lra].
  apply Rmult_lt_0_compat; lra.
Qed.

(* --- G6: zeros --- *)

(* the direction that takes probability from response j and gives it to response k *)
Definition shift (k j y : nat) : R := at_response k y - at_response j y.

(* The slope of J along it, ... *)
Theorem G6_slope p k j : full n ref -> full n p -> (k < n)%nat -> (j < n)%nat ->
  derivable_pt_lim (fun t => J (fun y => p y + t * shift k j y)) 0
    (r k - r j - beta * ln (p k / ref k) + beta * ln (p j / ref j)).
Proof.
  intros F P Hk Hj. pose proof (G1 0 p (shift k j) F P) as H.
  apply derivative_ext with (g := fun t => J (fun y => p y + t * shift k j y)) in H.
  2: intros; ring.
  apply derivative_value with (1 := H).
  rewrite (Sum_ext _ _ (fun y =>
    at_response k y * (r y - beta * (ln (p y / ref y) + 1) + 0)
    + (-1) * (at_response j y * (r y - beta * (ln (p y / ref y) + 1) + 0))))
    by (intros; unfold shift; ring).
  rewrite Sum_plus, Sum_scale, !Sum_pick by auto. ring.
Qed.

(* ... with p k = t, exceeds every bound as t goes to 0: no policy with a zero is best. *)
Theorem G6_slope_grows k j pj bound : 0 < ref k -> exists small, 0 < small /\
  forall t, 0 < t < small ->
    bound < r k - r j - beta * ln (t / ref k) + beta * ln (pj / ref j).
Proof.
  intros F. set (c := r k - r j + beta * ln (pj / ref j) + beta * ln (ref k)).
  exists (exp ((c - bound) / beta)). split. apply exp_pos. intros t [T0 T].
  apply ln_increasing in T; auto. rewrite ln_exp in T.
  apply Rmult_lt_compat_l with (r := beta) in T; auto.
  replace (beta * ((c - bound) / beta)) with (c - bound) in T by (field; lra).
  rewrite ln_quotient by auto. unfold c in T. lra.
Qed.

(* Where p writes what the reference hardly writes, J is below a line in log pi_ref(k),
   with slope beta p(k): it falls without bound as pi_ref(k) goes to 0. *)
Theorem G6_reference p k : full n ref -> policy n p -> (k < n)%nat ->
  J p <= mean n p (fun y => r y - beta * ln (p y)) + beta * p k * ln (ref k).
Proof.
  intros F P Hk.
  assert (T : forall y, (y < n)%nat -> 0 <= - (p y * ln (ref y))).
  { intros y Hy. pose proof (policy_at_most_one n ref y ref_policy Hy) as L.
    apply ln_le in L; auto. rewrite ln_1 in L.
    rewrite Ropp_mult_distr_r. apply Rmult_le_pos. apply (proj1 P); auto. lra. }
  assert (E : J p = mean n p (fun y => r y - beta * ln (p y))
    + (- beta) * Sum n (fun y => - (p y * ln (ref y)))).
  { rewrite O2. unfold mean. rewrite <- Sum_scale, <- Sum_plus. apply Sum_ext. intros y Hy.
    destruct (proj1 P y Hy) as [H | <-]. 2: ring. rewrite ln_quotient by auto. ring. }
  rewrite E. pose proof (Sum_term n (fun y => - (p y * ln (ref y))) k T Hk) as B. simpl in B.
  apply Rmult_le_compat_l with (r := beta) in B; lra.
Qed.

(* --- G9: a constant in the reward --- *)

Theorem G9 c y : pi_star n beta ref (fun k => r k + c) y = star y.
Proof.
  pose proof (Z_positive n beta ref r ref_policy). pose proof (exp_pos (c / beta)).
  assert (E : forall k, exp ((r k + c) / beta) = exp (c / beta) * exp (r k / beta)).
  { intros. rewrite <- exp_plus. f_equal. field. lra. }
  assert (EZ : Policies.Z n beta ref (fun k => r k + c) = exp (c / beta) * Z).
  { unfold Policies.Z. rewrite <- Sum_scale. apply Sum_ext. intros. rewrite E. ring. }
  unfold pi_star. rewrite EZ, E. field. lra.
Qed.

(* --- G12: beta as a temperature --- *)

Theorem G12_scale c y : 0 < c -> pi_star n (c * beta) ref (fun k => c * r k) y = star y.
Proof.
  intros C. assert (E : forall k, c * r k / (c * beta) = r k / beta).
  { intros. field. lra. }
  unfold pi_star, Policies.Z. rewrite E. f_equal. apply Sum_ext. intros. rewrite E. auto.
Qed.
End Optimum.
